-- What a source has of the units, in the order of this text: the units are few, the source is not.
SELECT STRAIGHT_JOIN {columns}
FROM {units} t
JOIN {replica} r ON r.{unit} = t.{unit}
