SELECT month, category_name, product_name
FROM product_sales
WHERE (month IS NULL OR category_name IS NULL OR product_name IS NULL OR order_cnt IS NULL
        OR pending_quantity + paid_quantity + completed_quantity + aborted_quantity IS NULL)
    /*{and}*/
