//! Parked changes in the packet of a transaction.

use tidemart_change::TopicPartition;

use super::{
    Changes, Letter, Place,
    letter::{change, is_whole, operation, write_row},
};
use crate::{
    checkpoints::of_partition,
    dialect::write_string,
    statement::{Packet, Role, assert_rows, push, write_assertion},
};

/// Bytes of a row in one statement, where the packet allows; its literal is at most twice as long.
const PIECE: usize = 1 << 20;
/// A packet has room for the literal of a piece of this part of its size.
const PIECE_OF_PACKET: usize = 4;

impl Packet {
    /// Parks and removes what these changes say. A row that is too large for a packet goes in several.
    pub(crate) fn dead_letters(&mut self, changes: &Changes<'_>, max_allowed_packet: usize) {
        self.remove_letters(changes.partition, &changes.removed);
        for letter in &changes.letters {
            self.park(letter, PIECE.min(max_allowed_packet / PIECE_OF_PACKET).max(1));
        }
    }

    /// Removes letters of a partition by their sequence numbers.
    fn remove_letters(&mut self, partition: &TopicPartition, sequences: &[u64]) {
        if !sequences.is_empty() {
            self.remove(partition, &format!(" AND seq IN ({})", list(sequences)), "");
        }
    }

    /// Removes these letters; fails unless all of them are there.
    pub(crate) fn remove_these_letters(&mut self, partition: &TopicPartition, letters: &[Place]) {
        let sequences: Vec<_> = letters.iter().map(|place| place.sequence).collect();
        let ids: Vec<_> = letters.iter().map(|place| place.id).collect();
        // Numbered anew in a newer epoch, another letter may have such a sequence number by now.
        let (sequences, own) =
            (format!(" AND seq IN ({})", list(&sequences)), format!(" AND id IN ({})", list(&ids)));
        self.remove(partition, &sequences, &own);
        self.statement(Role::Known, |sql| assert_rows(sql, letters.len()));
    }

    /// Removes every letter of a partition.
    pub(crate) fn remove_all_letters(&mut self, partition: &TopicPartition) {
        self.remove(partition, "", "");
    }

    /// By their index: a scan would wait for the letters of other lanes. The letters last, whose number is told then.
    fn remove(&mut self, partition: &TopicPartition, which: &str, of_letters: &str) {
        let tables =
            [("tidemart_dead_letter_rows", "PRIMARY", ""), ("tidemart_dead_letters", "place", of_letters)];
        for (table, index, more) in tables {
            self.statement(Role::Letters, |sql| {
                let of_partition = of_partition(partition);
                push(
                    sql,
                    format_args!(
                        "DELETE {table} FROM {table} FORCE INDEX ({index}) WHERE {of_partition}{which}{more}"
                    ),
                );
            });
        }
    }

    /// Fails where a key still has letters.
    pub(crate) fn assert_free(&mut self, partition: &TopicPartition, keys: &[&str]) {
        self.statement(Role::Known, |sql| {
            write_assertion(sql, |sql| {
                let free = "(SELECT COUNT(*) FROM tidemart_dead_letters FORCE INDEX (place) WHERE ";
                push(sql, format_args!("{free}{} AND row_key IN (", of_partition(partition)));
                for (position, key) in keys.iter().enumerate() {
                    if position > 0 {
                        sql.push(b',');
                    }
                    write_string(sql, key.as_bytes());
                }
                sql.extend_from_slice(b"))=0");
            });
        });
    }

    fn park(&mut self, letter: &Letter<'_>, piece: usize) {
        let Some((op, row, commit_time_ms)) = change(letter.record) else { return };
        let Letter { partition, record, key, kind, reason } = letter;
        let table = &record.schema.table;
        self.statement(Role::Letters, |sql| {
            sql.extend_from_slice(
                b"INSERT INTO tidemart_dead_letters (topic,part,seq,kafka_offset,operation,partial,kind,\
                  source_commit_us,stamp,source_schema,source_name,row_key,reason) VALUES (",
            );
            write_string(sql, partition.topic.as_bytes());
            let (operation, partial) = (operation(op), !is_whole(op, row));
            let (sequence, commit_us) = (record.stamp.sequence, commit_time_ms.saturating_mul(1000));
            push(sql, format_args!(",{},{sequence},{}", partition.partition, record.offset));
            push(sql, format_args!(",'{operation}',{partial},'{kind}',{commit_us}"));
            let stamp = record.stamp.to_string();
            for text in [&stamp, &table.schema, &table.name, key, reason] {
                sql.push(b',');
                write_string(sql, text.as_bytes());
            }
            sql.push(b')');
        });
        let text = write_row(&record.schema, row);
        for (number, part) in pieces(&text, piece).into_iter().enumerate() {
            self.cut_here();
            self.statement(Role::Letters, |sql| {
                sql.extend_from_slice(
                    b"INSERT INTO tidemart_dead_letter_rows (topic,part,seq,piece,text) VALUES (",
                );
                write_string(sql, partition.topic.as_bytes());
                push(sql, format_args!(",{},{},{number},", partition.partition, record.stamp.sequence));
                write_string(sql, part.as_bytes());
                sql.push(b')');
            });
        }
        self.cut_here();
    }
}

fn list(numbers: &[u64]) -> String {
    let numbers: Vec<_> = numbers.iter().map(u64::to_string).collect();
    numbers.join(",")
}

/// A text in pieces of at most so many bytes, but never within a character.
fn pieces(mut text: &str, most: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    while !text.is_empty() {
        let end = (most.min(text.len())..=text.len()).find(|end| text.is_char_boundary(*end));
        let (head, tail) = text.split_at(end.unwrap_or(text.len()));
        pieces.push(head);
        text = tail;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_keep_characters_whole() {
        let text = "aé\u{1F30A}b";
        for most in 1..12 {
            assert_eq!(pieces(text, most).concat(), text, "{most}");
        }
        assert_eq!(pieces(text, 2), ["aé", "\u{1F30A}", "b"]);
        assert!(pieces("", 5).is_empty());
    }
}
