SELECT month, loyalty_status
FROM user_sales
WHERE 1 = 1 /*{and}*/
GROUP BY month, loyalty_status
HAVING COUNT(*) > 1
