-- Takes away what constraints.sql adds, before empty tables are loaded. Primary keys and checks stay.
ALTER TABLE public.order_details
    DROP CONSTRAINT IF EXISTS order_details_order_fkey,
    DROP CONSTRAINT IF EXISTS order_details_product_fkey;
ALTER TABLE public.orders DROP CONSTRAINT IF EXISTS orders_user_fkey;
ALTER TABLE public.products DROP CONSTRAINT IF EXISTS products_category_fkey;
ALTER TABLE public.product_categories DROP CONSTRAINT IF EXISTS product_categories_parent_fkey;
DROP INDEX IF EXISTS
    public.product_categories_parent_idx,
    public.products_category_idx,
    public.orders_user_idx,
    public.order_details_order_product_key,
    public.order_details_product_idx,
    public.orders_date_idx,
    public.users_email_key;
