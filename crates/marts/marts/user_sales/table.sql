CREATE TABLE IF NOT EXISTS user_sales (
    -- First day of the order's month, UTC.
    month               DATE NOT NULL,
    loyalty_status      VARCHAR(10) NOT NULL,
    order_cnt           BIGINT NOT NULL,
    -- Distinct buyers.
    unique_users        BIGINT NOT NULL,
    -- Mean of the calendar days between order and delivery; NULL where nothing was delivered.
    avg_delivery_period DECIMAL(12, 4) NULL,
    -- Without orders that are Aborted.
    total_revenue       DECIMAL(18, 2) NOT NULL,
    -- Orders that were delivered, and the sum of their calendar days until then: the mean is of these.
    delivered_cnt       BIGINT NOT NULL,
    delivery_days       BIGINT NOT NULL,
    PRIMARY KEY (month, loyalty_status)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARSET utf8mb4 COLLATE {collation}
