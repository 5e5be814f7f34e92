-- What it had: the rows that have not changed, and what the others were.
SELECT STRAIGHT_JOIN {columns}
FROM {units} t
JOIN {replica} r ON r.{unit} = t.{unit}
LEFT JOIN {changed} c ON {same_key}
WHERE c.{key} IS NULL
UNION ALL
SELECT {before_columns}
FROM {before} b
