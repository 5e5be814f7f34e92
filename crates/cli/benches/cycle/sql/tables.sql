-- A small shop: what is measured does not depend on its meaning, but on its rows' width and number.
CREATE TABLE users (
    user_id        bigint PRIMARY KEY,
    name           varchar(100) NOT NULL,
    email          varchar(200),
    country        varchar(40),
    city           varchar(60),
    loyalty_status varchar(20) NOT NULL,
    created_at     timestamptz NOT NULL
);
CREATE TABLE product_categories (
    category_id integer PRIMARY KEY,
    name        varchar(100) NOT NULL,
    parent_id   integer
);
CREATE TABLE products (
    product_id  bigint PRIMARY KEY,
    name        varchar(200) NOT NULL,
    category_id integer NOT NULL,
    price       numeric(12, 2) NOT NULL,
    stock       integer NOT NULL,
    created_at  timestamptz NOT NULL
);
CREATE TABLE orders (
    order_id      bigint PRIMARY KEY,
    user_id       bigint NOT NULL,
    order_date    timestamptz NOT NULL,
    total_amount  numeric(12, 2) NOT NULL,
    status        varchar(20) NOT NULL,
    delivery_date timestamptz
);
CREATE TABLE order_details (
    order_detail_id bigint PRIMARY KEY,
    order_id        bigint NOT NULL,
    product_id      bigint NOT NULL,
    quantity        integer NOT NULL,
    price_per_unit  numeric(12, 2) NOT NULL,
    total_amount    numeric(12, 2) NOT NULL
);
