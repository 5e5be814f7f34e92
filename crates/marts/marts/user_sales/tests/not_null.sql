SELECT month, loyalty_status
FROM user_sales
WHERE (month IS NULL OR loyalty_status IS NULL OR order_cnt IS NULL OR unique_users IS NULL OR total_revenue IS NULL)
    /*{and}*/
