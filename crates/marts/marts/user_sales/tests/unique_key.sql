SELECT month, loyalty_status
FROM user_sales
GROUP BY month, loyalty_status
HAVING COUNT(*) > 1
