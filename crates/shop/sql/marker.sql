-- The record of the load, a comment in the catalog: it needs no table of its own beside the shop's, and is not replicated.
SELECT obj_description(to_regclass('public.orders'), 'pg_class');
