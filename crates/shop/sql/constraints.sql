-- References between tables and secondary indexes. Idempotent; every reference ends up validated.
-- Nothing cascades: whoever deletes a row says what happens to the rows that refer to it.

-- Every column that refers to another table, so that deleting there does not scan here.
CREATE INDEX IF NOT EXISTS product_categories_parent_idx ON public.product_categories (parent_category_id);
CREATE INDEX IF NOT EXISTS products_category_idx ON public.products (category_id);
CREATE INDEX IF NOT EXISTS orders_user_idx ON public.orders (user_id);
-- One line per product in an order; serves the reference to orders as well.
CREATE UNIQUE INDEX IF NOT EXISTS order_details_order_product_key ON public.order_details (order_id, product_id);
CREATE INDEX IF NOT EXISTS order_details_product_idx ON public.order_details (product_id);
-- Reports go by date.
CREATE INDEX IF NOT EXISTS orders_date_idx ON public.orders (order_date);
-- Nobody registers twice.
CREATE UNIQUE INDEX IF NOT EXISTS users_email_key ON public.users (email);

-- ADD CONSTRAINT has no IF NOT EXISTS.
DO $$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            ('product_categories', 'product_categories_parent_fkey', 'parent_category_id', 'product_categories', 'category_id'),
            ('products', 'products_category_fkey', 'category_id', 'product_categories', 'category_id'),
            ('orders', 'orders_user_fkey', 'user_id', 'users', 'user_id'),
            ('order_details', 'order_details_order_fkey', 'order_id', 'orders', 'order_id'),
            ('order_details', 'order_details_product_fkey', 'product_id', 'products', 'product_id')
        ) AS fk (child, name, child_column, parent, parent_column)
    LOOP
        IF NOT EXISTS (
            SELECT FROM pg_catalog.pg_constraint
            WHERE conname = wanted.name AND conrelid = format('public.%I', wanted.child)::regclass
        ) THEN
            EXECUTE format(
                'ALTER TABLE public.%I ADD CONSTRAINT %I FOREIGN KEY (%I) REFERENCES public.%I (%I)',
                wanted.child, wanted.name, wanted.child_column, wanted.parent, wanted.parent_column
            );
        END IF;
    END LOOP;
END $$;
