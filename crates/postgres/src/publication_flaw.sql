-- One row if the publication exists; what would make it leave changes out, or NULL.
SELECT CASE
    WHEN p.puballtables THEN 'is FOR ALL TABLES'
    WHEN NOT (p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate) THEN 'does not publish every operation'
    WHEN p.pubviaroot THEN 'has publish_via_partition_root'
    -- Since version 18.
    WHEN to_jsonb(p) ->> 'pubgencols' = 's' THEN 'publishes generated columns'
    WHEN EXISTS (SELECT FROM pg_publication_namespace s WHERE s.pnpubid = p.oid) THEN 'holds whole schemas'
    WHEN EXISTS (
        SELECT FROM pg_publication_rel r
        WHERE r.prpubid = p.oid AND (r.prqual IS NOT NULL OR r.prattrs IS NOT NULL)
    ) THEN 'has row filters or column lists'
END
FROM pg_publication p
WHERE p.pubname = $1
