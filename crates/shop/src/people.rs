//! Users' names, addresses and habits.

use crate::draws::{Draw, Purpose};

/// Names with the ASCII form that e-mail addresses use.
#[rustfmt::skip]
const FIRST_NAMES: [(&str, &str); 64] = [
    ("Anna", "anna"), ("James", "james"), ("Zoë", "zoe"), ("José", "jose"), ("Łukasz", "lukasz"),
    ("Søren", "soren"), ("Maria", "maria"), ("Юлия", "yulia"), ("Иван", "ivan"), ("美咲", "misaki"),
    ("蓮", "ren"), ("Αλέξανδρος", "alexandros"), ("Chloé", "chloe"), ("Jürgen", "juergen"), ("Ana María", "ana.maria"),
    ("Mary-Jane", "mary.jane"), ("D'Angelo", "dangelo"), ("Seán", "sean"), ("Aoife", "aoife"), ("Nikolai", "nikolai"),
    ("Fatima", "fatima"), ("Mohammed", "mohammed"), ("محمد", "mohamed"), ("Priya", "priya"), ("Arjun", "arjun"),
    ("आरव", "aarav"), ("Wei", "wei"), ("Ming", "ming"), ("Olivia", "olivia"), ("Liam", "liam"),
    ("Emma", "emma"), ("Noah", "noah"), ("Sofia", "sofia"), ("Lucas", "lucas"), ("Mia", "mia"),
    ("Elias", "elias"), ("Ingrid", "ingrid"), ("Björn", "bjorn"), ("Åsa", "asa"), ("Ewa", "ewa"),
    ("Tomáš", "tomas"), ("Žofie", "zofie"), ("István", "istvan"), ("Ayşe", "ayse"), ("Mehmet", "mehmet"),
    ("Giulia", "giulia"), ("Matteo", "matteo"), ("João", "joao"), ("Inês", "ines"), ("Pieter", "pieter"),
    ("Femke", "femke"), ("Tuuli", "tuuli"), ("Aleksi", "aleksi"), ("Nguyệt", "nguyet"), ("Minh", "minh"),
    ("Kwame", "kwame"), ("Amara", "amara"), ("Thabo", "thabo"), ("Leila", "leila"), ("Omar", "omar"),
    ("Hannah", "hannah"), ("Jakub", "jakub"), ("Charlotte", "charlotte"), ("Henry", "henry"),
];

#[rustfmt::skip]
const LAST_NAMES: [(&str, &str); 64] = [
    ("O'Brien", "obrien"), ("Smith", "smith"), ("García", "garcia"), ("Müller", "mueller"), ("Nowak", "nowak"),
    ("D'Souza", "dsouza"), ("van der Berg", "vanderberg"), ("Иванова", "ivanova"), ("Петров", "petrov"), ("佐藤", "sato"),
    ("鈴木", "suzuki"), ("Παπαδόπουλος", "papadopoulos"), ("Lefèvre", "lefevre"), ("Smith-Jones", "smith.jones"), ("Ó Súilleabháin", "osullivan"),
    ("Hansen", "hansen"), ("Jørgensen", "jorgensen"), ("Lindström", "lindstrom"), ("Kowalczyk", "kowalczyk"), ("Dvořák", "dvorak"),
    ("Nagy", "nagy"), ("Yılmaz", "yilmaz"), ("Rossi", "rossi"), ("L'Abbate", "labbate"), ("Silva", "silva"),
    ("Gonçalves", "goncalves"), ("de Vries", "devries"), ("Korhonen", "korhonen"), ("Nguyễn", "nguyen"), ("Trần", "tran"),
    ("Mensah", "mensah"), ("Okafor", "okafor"), ("Dlamini", "dlamini"), ("Haddad", "haddad"), ("الحسن", "alhassan"),
    ("Sharma", "sharma"), ("Patel", "patel"), ("सिंह", "singh"), ("Wang", "wang"), ("李", "li"),
    ("Brown", "brown"), ("Taylor", "taylor"), ("Wilson", "wilson"), ("Davies", "davies"), ("Evans", "evans"),
    ("Clark", "clark"), ("Walker", "walker"), ("Young", "young"), ("King", "king"), ("Wright", "wright"),
    ("Fischer", "fischer"), ("Weber", "weber"), ("Schäfer", "schaefer"), ("Martin", "martin"), ("Bernard", "bernard"),
    ("Dubois", "dubois"), ("Moreau", "moreau"), ("Fernández", "fernandez"), ("Rodríguez", "rodriguez"), ("Castillo", "castillo"),
    ("Bianchi", "bianchi"), ("Romano", "romano"), ("Novák", "novak"), ("Svensson", "svensson"),
];

/// Reserved for examples (RFC 2606), so that no real mailbox is ever named.
const DOMAINS: [&str; 5] =
    ["example.com", "example.org", "example.net", "mail.example.com", "post.example.org"];

/// Country codes with the length of what follows.
const PHONES: [(&str, u32); 8] =
    [("+1", 10), ("+44", 10), ("+49", 11), ("+33", 9), ("+48", 9), ("+81", 10), ("+34", 9), ("+353", 9)];

/// Who a user is.
pub(crate) struct Profile {
    pub(crate) first_name: &'static str,
    pub(crate) last_name: &'static str,
    pub(crate) email: String,
    pub(crate) phone_number: String,
}

/// The profile that a user registers with.
pub(crate) fn profile(seed: u64, user_id: i64) -> Profile {
    let mut draw = Draw::new(seed, Purpose::User, user_id.unsigned_abs());
    draw_profile(&mut draw, user_id, None)
}

/// Draws a profile. The address holds the user's id, and for a later one a `revision`, so it is unique.
pub(crate) fn draw_profile(draw: &mut Draw, user_id: i64, revision: Option<i64>) -> Profile {
    let (first_name, first) = draw.pick(&FIRST_NAMES);
    let (last_name, last) = draw.pick(&LAST_NAMES);
    let domain = draw.pick(&DOMAINS);
    let email = match revision {
        None => format!("{first}.{last}.{user_id}@{domain}"),
        Some(revision) => format!("{first}.{last}.{user_id}.{revision}@{domain}"),
    };
    Profile { first_name, last_name, email, phone_number: draw_phone(draw) }
}

pub(crate) fn draw_phone(draw: &mut Draw) -> String {
    let (country, digits) = draw.pick(&PHONES);
    let first = 10_u64.pow(digits - 1);
    format!("{country} {}", first + draw.below(9 * first))
}

/// How often a user orders, and whether they leave.
pub(crate) struct Habits {
    /// Of 255; most users order seldom, a few often.
    pub(crate) activity: u8,
    /// Asks to be erased this many days after registering.
    pub(crate) leaves_after_days: Option<u32>,
}

/// Share of users, of 10,000, that some day ask to be erased.
const LEAVERS: u64 = 300;
/// A user stays at least this many days.
pub(crate) const SHORTEST_STAY_DAYS: i64 = 120;

pub(crate) fn habits(seed: u64, user_id: i64) -> Habits {
    let mut draw = Draw::new(seed, Purpose::UserHabits, user_id.unsigned_abs());
    let activity = u8::try_from(draw.wide(40).clamp(2, 255)).unwrap_or(u8::MAX);
    let leaves_after_days = draw
        .chance(LEAVERS)
        .then(|| draw.between(SHORTEST_STAY_DAYS, 900).unsigned_abs())
        .and_then(|days| u32::try_from(days).ok());
    Habits { activity, leaves_after_days }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn addresses_are_ascii_and_unique() {
        let addresses: BTreeSet<_> = (1..3_000).map(|id| profile(1, id).email).collect();
        assert_eq!(addresses.len(), 2_999);
        assert!(addresses.iter().all(|address| address.is_ascii() && !address.contains(['\'', ' '])));
    }

    #[test]
    fn names_are_not_all_ascii_and_some_have_quotes() {
        let names: Vec<_> = (1..500).map(|id| profile(1, id).last_name).collect();
        assert!(names.iter().any(|name| !name.is_ascii()));
        assert!(names.iter().any(|name| name.contains('\'')));
    }
}
