-- In the SQL that MySQL, MariaDB and Spark share. The comments with braces are where a restriction goes, where MySQL is
-- told to keep to this order of tables for a few products, and which sources can be replaced by the rows of some orders.
SELECT
    CAST(CONCAT(LPAD(g.y, 4, '0'), '-', LPAD(g.m, 2, '0'), '-01') AS DATE) AS month,
    g.category_name AS category_name,
    g.product_name AS product_name,
    g.order_cnt AS order_cnt,
    g.pending_quantity AS pending_quantity,
    g.paid_quantity AS paid_quantity,
    g.completed_quantity AS completed_quantity,
    g.aborted_quantity AS aborted_quantity
FROM (
    SELECT /*{straight}*/
        YEAR(o.order_date) AS y,
        MONTH(o.order_date) AS m,
        c.name AS category_name,
        p.name AS product_name,
        COUNT(DISTINCT o.order_id) AS order_cnt,
        SUM(CASE WHEN o.status = 'Pending' THEN d.quantity ELSE 0 END) AS pending_quantity,
        SUM(CASE WHEN o.status = 'Paid' THEN d.quantity ELSE 0 END) AS paid_quantity,
        SUM(CASE WHEN o.status = 'Completed' THEN d.quantity ELSE 0 END) AS completed_quantity,
        SUM(CASE WHEN o.status = 'Aborted' THEN d.quantity ELSE 0 END) AS aborted_quantity
    FROM /*{order_details}*/ order_details d
    JOIN /*{orders}*/ orders o ON o.order_id = d.order_id
    JOIN products p ON p.product_id = d.product_id
    JOIN product_categories c ON c.category_id = p.category_id
    WHERE 1 = 1 /*{and}*/
    GROUP BY YEAR(o.order_date), MONTH(o.order_date), c.name, p.name
) g
