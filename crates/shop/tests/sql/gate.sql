-- Details are loaded, and their COPY ends only once the lock is free: it is held by this session.
SELECT pg_advisory_lock(4242);

CREATE FUNCTION public.gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(4242);
    RETURN NULL;
END $$;

CREATE TRIGGER gate AFTER INSERT ON public.order_details
    FOR EACH STATEMENT EXECUTE FUNCTION public.gate();
