-- Months whose orders or revenue are not those of the replica.
SELECT n.month
FROM (
    SELECT s.month AS month, SUM(s.order_cnt) AS orders, SUM(s.revenue) AS revenue
    FROM (
        SELECT month, order_cnt, total_revenue AS revenue
        FROM user_sales
        WHERE 1 = 1 /*{and}*/
        UNION ALL
        SELECT
            CAST(DATE_FORMAT(o.order_date, '%Y-%m-01') AS DATE),
            -COUNT(*),
            -SUM(CASE WHEN o.status <> 'Aborted' THEN o.total_amount ELSE 0 END)
        FROM orders o
        JOIN users u ON u.user_id = o.user_id
        WHERE 1 = 1 /*{and of sources}*/
        GROUP BY CAST(DATE_FORMAT(o.order_date, '%Y-%m-01') AS DATE)
    ) s
    GROUP BY s.month
) n
WHERE n.orders <> 0 OR n.revenue <> 0
