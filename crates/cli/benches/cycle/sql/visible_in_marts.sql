-- Months of probes that both marts show, from a month on.
SELECT TIMESTAMPDIFF(MONTH, '1900-01-01', u.month)
FROM user_sales u
JOIN product_sales p ON p.month = u.month
WHERE u.month >= '1900-01-01' + INTERVAL {first} MONTH AND u.month < '1990-01-01'
