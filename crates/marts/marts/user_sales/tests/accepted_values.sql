SELECT month, loyalty_status
FROM user_sales
WHERE (loyalty_status NOT IN ('Platinum', 'Gold', 'Silver', 'Basic')
        OR DAY(month) <> 1
        OR order_cnt < 1
        OR unique_users < 1
        OR unique_users > order_cnt
        OR avg_delivery_period < 0
        OR total_revenue < 0)
    /*{and}*/
