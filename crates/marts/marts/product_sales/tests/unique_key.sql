SELECT month, category_name, product_name
FROM product_sales
GROUP BY month, category_name, product_name
HAVING COUNT(*) > 1
