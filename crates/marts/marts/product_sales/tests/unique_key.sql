SELECT month, category_name, product_name
FROM product_sales
WHERE 1 = 1 /*{and}*/
GROUP BY month, category_name, product_name
HAVING COUNT(*) > 1
