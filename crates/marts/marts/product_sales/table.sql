CREATE TABLE IF NOT EXISTS product_sales (
    -- First day of the order's month, UTC.
    month              DATE NOT NULL,
    category_name      VARCHAR(120) NOT NULL,
    product_name       VARCHAR(200) NOT NULL,
    -- Distinct orders.
    order_cnt          BIGINT NOT NULL,
    -- Pieces in orders of each status.
    pending_quantity   BIGINT NOT NULL,
    paid_quantity      BIGINT NOT NULL,
    completed_quantity BIGINT NOT NULL,
    aborted_quantity   BIGINT NOT NULL,
    PRIMARY KEY (month, category_name, product_name)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARSET utf8mb4 COLLATE {collation}
