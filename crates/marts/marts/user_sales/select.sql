-- In the SQL that MySQL, MariaDB and Spark share. The comments with braces are where a restriction goes, and which
-- sources can be replaced by the rows of some users. The inner SELECT's sums are named as the mart's columns.
SELECT
    CAST(CONCAT(LPAD(g.y, 4, '0'), '-', LPAD(g.m, 2, '0'), '-01') AS DATE) AS month,
    g.loyalty_status AS loyalty_status,
    g.order_cnt AS order_cnt,
    g.unique_users AS unique_users,
    -- Rounded half up to four digits in whole numbers, since engines divide decimals with different precision.
    CAST(CAST((g.delivery_days * 20000 + g.delivered_cnt) DIV NULLIF(g.delivered_cnt * 2, 0) AS DECIMAL(18, 0)) / 10000 AS DECIMAL(12, 4)) AS avg_delivery_period,
    CAST(g.total_revenue AS DECIMAL(18, 2)) AS total_revenue,
    g.delivered_cnt AS delivered_cnt,
    g.delivery_days AS delivery_days
FROM (
    SELECT
        YEAR(o.order_date) AS y,
        MONTH(o.order_date) AS m,
        u.loyalty_status AS loyalty_status,
        COUNT(*) AS order_cnt,
        COUNT(DISTINCT o.user_id) AS unique_users,
        SUM(CASE WHEN o.status <> 'Aborted' THEN o.total_amount ELSE 0 END) AS total_revenue,
        COUNT(o.delivery_date) AS delivered_cnt,
        COALESCE(SUM(DATEDIFF(o.delivery_date, o.order_date)), 0) AS delivery_days
    FROM /*{orders}*/ orders o
    JOIN /*{users}*/ users u ON u.user_id = o.user_id
    WHERE 1 = 1 /*{and}*/
    GROUP BY YEAR(o.order_date), MONTH(o.order_date), u.loyalty_status
) g
