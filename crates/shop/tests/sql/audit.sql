-- Records what live transactions do, in the transactions themselves.
CREATE TABLE public.audit (
    "table"   text NOT NULL,
    operation text NOT NULL,
    key       bigint NOT NULL,
    old       jsonb,
    new       jsonb
);

CREATE FUNCTION public.audit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    old_row jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    new_row jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
BEGIN
    INSERT INTO public.audit
    VALUES (TG_TABLE_NAME, TG_OP, (coalesce(new_row, old_row) ->> TG_ARGV[0])::bigint, old_row, new_row);
    RETURN NULL;
END $$;

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON public.product_categories
    FOR EACH ROW EXECUTE FUNCTION public.audit('category_id');
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON public.products
    FOR EACH ROW EXECUTE FUNCTION public.audit('product_id');
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON public.users
    FOR EACH ROW EXECUTE FUNCTION public.audit('user_id');
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON public.orders
    FOR EACH ROW EXECUTE FUNCTION public.audit('order_id');
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON public.order_details
    FOR EACH ROW EXECUTE FUNCTION public.audit('order_detail_id');
