SELECT month, category_name, product_name
FROM product_sales
WHERE (category_name = ''
        OR product_name = ''
        OR DAY(month) <> 1
        OR order_cnt < 1
        OR LEAST(pending_quantity, paid_quantity, completed_quantity, aborted_quantity) < 0
        OR pending_quantity + paid_quantity + completed_quantity + aborted_quantity < order_cnt)
    /*{and}*/
