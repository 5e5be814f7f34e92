-- The shop's tables with what every row must satisfy by itself. Keys come from the generator, which derives the
-- next ones from the highest in use; so there are no sequences to keep in step.
-- References between tables and secondary indexes are in constraints.sql: a load is five times as fast without.

CREATE TABLE IF NOT EXISTS public.product_categories (
    category_id        bigint PRIMARY KEY CHECK (category_id > 0),
    name               varchar(120) NOT NULL CHECK (name <> ''),
    parent_category_id bigint CHECK (parent_category_id <> category_id)
);

-- Stock changes with every sale: free space in each page keeps those updates on the page and off the indexes (HOT).
CREATE TABLE IF NOT EXISTS public.products (
    product_id     bigint PRIMARY KEY CHECK (product_id > 0),
    name           varchar(200) NOT NULL CHECK (name <> ''),
    description    text NOT NULL,
    category_id    bigint NOT NULL,
    price          numeric(12, 2) NOT NULL CHECK (price > 0),
    stock_quantity integer NOT NULL CHECK (stock_quantity >= 0),
    creation_date  timestamptz NOT NULL
) WITH (fillfactor = 70);

CREATE TABLE IF NOT EXISTS public.users (
    user_id           bigint PRIMARY KEY CHECK (user_id > 0),
    first_name        varchar(100) NOT NULL,
    last_name         varchar(100) NOT NULL,
    email             varchar(254) NOT NULL CHECK (email LIKE '%_@_%'),
    phone_number      varchar(32) NOT NULL,
    registration_date timestamptz NOT NULL,
    loyalty_status    varchar(10) NOT NULL CHECK (loyalty_status IN ('Platinum', 'Gold', 'Silver', 'Basic'))
);

-- An order is updated once or twice after it was placed (Paid, Completed).
CREATE TABLE IF NOT EXISTS public.orders (
    order_id      bigint PRIMARY KEY CHECK (order_id > 0),
    user_id       bigint NOT NULL,
    order_date    timestamptz NOT NULL,
    total_amount  numeric(12, 2) NOT NULL CHECK (total_amount >= 0),
    status        varchar(10) NOT NULL CHECK (status IN ('Pending', 'Paid', 'Completed', 'Aborted')),
    delivery_date timestamptz,
    CONSTRAINT orders_delivery_after_order CHECK (delivery_date >= order_date),
    CONSTRAINT orders_delivery_when_completed CHECK ((status = 'Completed') = (delivery_date IS NOT NULL))
) WITH (fillfactor = 85);

CREATE TABLE IF NOT EXISTS public.order_details (
    order_detail_id bigint PRIMARY KEY CHECK (order_detail_id > 0),
    order_id        bigint NOT NULL,
    product_id      bigint NOT NULL,
    quantity        integer NOT NULL CHECK (quantity > 0),
    price_per_unit  numeric(12, 2) NOT NULL CHECK (price_per_unit >= 0),
    total_amount    numeric(12, 2) NOT NULL,
    CONSTRAINT order_details_total CHECK (total_amount = quantity * price_per_unit)
);
