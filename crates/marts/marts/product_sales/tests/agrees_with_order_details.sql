-- Months whose pieces are not those of the replica.
SELECT n.month
FROM (
    SELECT s.month AS month, SUM(s.quantity) AS quantity
    FROM (
        SELECT month, pending_quantity + paid_quantity + completed_quantity + aborted_quantity AS quantity
        FROM product_sales
        WHERE 1 = 1 /*{and}*/
        UNION ALL
        SELECT CAST(DATE_FORMAT(o.order_date, '%Y-%m-01') AS DATE), -SUM(d.quantity)
        FROM orders o
        JOIN order_details d ON d.order_id = o.order_id
        JOIN products p ON p.product_id = d.product_id
        JOIN product_categories c ON c.category_id = p.category_id
        WHERE 1 = 1 /*{and of sources}*/
        GROUP BY CAST(DATE_FORMAT(o.order_date, '%Y-%m-01') AS DATE)
    ) s
    GROUP BY s.month
) n
WHERE n.quantity <> 0
