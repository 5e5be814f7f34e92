-- In the SQL that MySQL, MariaDB and Spark share. The comment with braces is where a restriction goes.
SELECT
    CAST(CONCAT(g.y, '-', LPAD(g.m, 2, '0'), '-01') AS DATE) AS month,
    g.loyalty_status AS loyalty_status,
    g.order_cnt AS order_cnt,
    g.unique_users AS unique_users,
    -- Rounded half up to four digits in whole numbers, since engines divide decimals with different precision.
    CAST(CAST((g.delivery_days * 20000 + g.delivered) DIV NULLIF(g.delivered * 2, 0) AS DECIMAL(18, 0)) / 10000 AS DECIMAL(12, 4)) AS avg_delivery_period,
    CAST(g.revenue AS DECIMAL(18, 2)) AS total_revenue
FROM (
    SELECT
        YEAR(o.order_date) AS y,
        MONTH(o.order_date) AS m,
        u.loyalty_status AS loyalty_status,
        COUNT(*) AS order_cnt,
        COUNT(DISTINCT o.user_id) AS unique_users,
        SUM(DATEDIFF(o.delivery_date, o.order_date)) AS delivery_days,
        COUNT(o.delivery_date) AS delivered,
        SUM(CASE WHEN o.status <> 'Aborted' THEN o.total_amount ELSE 0 END) AS revenue
    FROM orders o
    JOIN users u ON u.user_id = o.user_id
    WHERE 1 = 1 /*{and}*/
    GROUP BY YEAR(o.order_date), MONTH(o.order_date), u.loyalty_status
) g
