//! Categories and products: names, descriptions, prices over time, popularity.

use crate::draws::{Draw, Purpose};
use crate::model::{Category, Cents};
use crate::time::{DAY, Timestamp};

/// Departments, each with its categories: name, median price in cents, things.
type Department = (&'static str, &'static [(&'static str, i64, &'static [&'static str])]);

#[rustfmt::skip]
const DEPARTMENTS: [Department; 6] = [
    ("Home", &[
        ("Lighting", 4_900, &["Desk Lamp", "Floor Lamp", "Pendant", "Lantern", "Night Light"]),
        ("Bedding", 5_900, &["Duvet", "Pillow", "Sheet Set", "Blanket"]),
        ("Furniture", 18_900, &["Bookcase", "Side Table", "Armchair", "Stool", "Sideboard"]),
        ("Storage", 2_400, &["Basket", "Crate", "Shoe Rack", "Box Set"]),
    ]),
    ("Kitchen", &[
        ("Cookware", 5_200, &["Frying Pan", "Stock Pot", "Wok", "Casserole"]),
        ("Tableware", 2_100, &["Plate Set", "Mug", "Bowl", "Carafe", "Cutlery Set"]),
        ("Small Appliances", 7_900, &["Kettle", "Toaster", "Hand Blender", "Coffee Grinder"]),
        ("Baking", 1_800, &["Cake Tin", "Rolling Pin", "Mixing Bowl", "Pastry Brush"]),
    ]),
    ("Electronics", &[
        ("Audio", 9_900, &["Headphones", "Speaker", "Turntable", "Microphone"]),
        ("Computer Accessories", 3_900, &["Keyboard", "Mouse", "Webcam", "USB Hub", "Monitor Arm"]),
        ("Phone Accessories", 1_900, &["Case", "Charger", "Cable", "Holder"]),
        ("Smart Home", 6_900, &["Thermostat", "Door Sensor", "Plug", "Camera"]),
    ]),
    ("Outdoor", &[
        ("Camping", 7_400, &["Tent", "Sleeping Bag", "Camp Stove", "Folding Chair"]),
        ("Garden Tools", 3_200, &["Spade", "Secateurs", "Rake", "Watering Can"]),
        ("Cycling", 4_800, &["Helmet", "Bike Light", "Pannier", "Floor Pump"]),
        ("Plants", 1_600, &["Fern", "Monstera", "Olive Tree", "Herb Set"]),
    ]),
    ("Leisure", &[
        ("Board Games", 3_400, &["Strategy Game", "Puzzle", "Card Game", "Chess Set"]),
        ("Books", 1_700, &["Novel", "Cookbook", "Atlas", "Field Guide"]),
        ("Art Supplies", 2_300, &["Brush Set", "Sketchbook", "Easel", "Watercolours"]),
        ("Music", 6_500, &["Ukulele", "Music Stand", "Tuner", "Tambourine"]),
    ]),
    ("Family", &[
        ("Toys", 2_200, &["Building Blocks", "Train Set", "Plush Bear", "Kite"]),
        ("Baby", 3_100, &["Carrier", "Play Mat", "Bottle Set", "Bib"]),
        ("Pets", 2_600, &["Dog Bed", "Scratching Post", "Leash", "Feeder"]),
        ("School", 1_400, &["Backpack", "Pencil Case", "Lunch Box", "Planner"]),
    ]),
];

const STYLES: [&str; 16] = [
    "Nordic",
    "Classic",
    "Café",
    "Compact",
    "Rustic",
    "Modern",
    "Baker's",
    "Vintage",
    "Everyday",
    "Premium",
    "Mini",
    "Urban",
    "Coastal",
    "Déjà-vu",
    "Studio",
    "Alpine",
];
const MATERIALS: [&str; 12] = [
    "Oak", "Steel", "Linen", "Bamboo", "Glass", "Walnut", "Copper", "Cotton", "Ceramic", "Cork", "Wool",
    "Birch",
];
const SENTENCES: [&str; 14] = [
    "Made to last and easy to repair.",
    "Our customers' favourite since we began.",
    "Ships flat, assembled in ten minutes without tools.",
    "Each piece differs slightly in grain and colour.",
    "Tested to 10\u{a0}000 cycles; 5-year guarantee.",
    "Wipe clean with a damp cloth.",
    "Spare parts are available \"for life\".",
    "Packed in recycled cardboard, 100 % plastic-free.",
    "Fits most standard sizes (see the table below).",
    "Designed in-house, with a nod to the 1960s.",
    "Working temperature −10 °C to +40 °C.",
    "A gift that doesn't need wrapping.",
    "Colours may look different on your screen.",
    "Weight and size: see the data sheet.\n",
];

/// Share of products, of 10,000, whose description carries a long data sheet.
const DATA_SHEETS: u64 = 400;
/// How long one price stands at least, in days.
const PRICE_PERIOD_DAYS: i64 = 45;

/// The tree of categories: departments first, so that parents come before children.
pub(crate) fn categories() -> Vec<Category> {
    let departments = DEPARTMENTS.iter().map(|(name, _)| (*name, None));
    let leaves = DEPARTMENTS
        .iter()
        .enumerate()
        .flat_map(|(at, (_, leaves))| leaves.iter().map(move |leaf| (leaf.0, Some(at as i64 + 1))));
    departments
        .chain(leaves)
        .zip(1..)
        .map(|((name, parent_category_id), category_id)| Category {
            category_id,
            name: name.to_owned(),
            parent_category_id,
        })
        .collect()
}

/// Number of departments; their ids are 1 to this.
pub(crate) const DEPARTMENT_COUNT: i64 = DEPARTMENTS.len() as i64;

const LEAVES_EACH: usize = 4;

/// What stays the same over a product's life.
pub(crate) struct Article {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) category_id: i64,
    /// Price around which the real one moves.
    pub(crate) list_price: Cents,
}

/// The product with this id.
pub(crate) fn article(seed: u64, product_id: i64) -> Article {
    let mut draw = Draw::new(seed, Purpose::Product, product_id.unsigned_abs());
    let leaf = draw.index(DEPARTMENTS.len() * LEAVES_EACH);
    let (_, median, things) = DEPARTMENTS[leaf / LEAVES_EACH].1[leaf % LEAVES_EACH];
    let name =
        format!("{} {} {} {product_id:04}", draw.pick(&STYLES), draw.pick(&MATERIALS), draw.pick(things));
    let list_price = neat(draw.narrow(median));
    let description = describe(&mut draw, &name);
    Article { name, description, category_id: DEPARTMENT_COUNT + 1 + leaf as i64, list_price }
}

/// A description of one to many sentences; some with a data sheet that does not compress.
pub(crate) fn describe(draw: &mut Draw, name: &str) -> String {
    let mut text = format!("{name}.");
    for _ in 0..draw.wide(4).clamp(1, 30) {
        text.push(' ');
        text.push_str(draw.pick(&SENTENCES));
    }
    if draw.chance(DATA_SHEETS) {
        data_sheet(draw, &mut text);
    }
    text
}

fn data_sheet(draw: &mut Draw, text: &mut String) {
    text.push_str("\nData sheet\n");
    for line in 0..draw.between(60, 160) {
        text.push_str(&format!("{line:03}\\{:016x}{:016x}\n", draw.below(u64::MAX), draw.below(u64::MAX)));
    }
}

/// A price as shops like it: ends in 9 or 99.
fn neat(cents: i64) -> Cents {
    let step = if cents < 2_000 { 10 } else { 100 };
    Cents((cents / step * step + step - 1).max(99))
}

/// Moves a price by -20 to +25 percent of the list price.
pub(crate) fn moved_price(draw: &mut Draw, list_price: Cents) -> Cents {
    neat(list_price.0 * draw.between(80, 125) / 100)
}

/// The prices of one product over a span of time.
pub(crate) struct Prices {
    /// When the first period after the list price begins.
    offset: i64,
    start: Timestamp,
    periods: Vec<Cents>,
}

impl Prices {
    pub(crate) fn new(seed: u64, product_id: i64, list_price: Cents, start: Timestamp, days: u32) -> Self {
        let mut draw = Draw::new(seed, Purpose::Prices, product_id.unsigned_abs());
        let offset = draw.between(0, PRICE_PERIOD_DAYS * DAY);
        let count = i64::from(days) / PRICE_PERIOD_DAYS + 2;
        let mut price = list_price;
        let periods = (0..count)
            .map(|_| {
                if draw.chance(6_000) {
                    price = moved_price(&mut draw, list_price);
                }
                price
            })
            .collect();
        Self { offset, start, periods }
    }

    pub(crate) fn at(&self, time: Timestamp) -> Cents {
        let period = (time.0 - self.start.0 + self.offset) / (PRICE_PERIOD_DAYS * DAY);
        let last = self.periods.len() - 1;
        self.periods[usize::try_from(period).unwrap_or(0).min(last)]
    }
}

/// How much a product is asked for: Zipf-Mandelbrot over a drawn rank, so that the first product does not get
/// a third of all orders. `products` is the size of the range, the same number for one shop always.
pub(crate) fn popularity(seed: u64, product_id: i64, products: u64) -> u64 {
    let rank = Draw::new(seed, Purpose::Popularity, product_id.unsigned_abs()).below(products);
    1_000_000 / (rank + 10)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_categories_are_a_tree() {
        let categories = categories();
        let names: BTreeSet<_> = categories.iter().map(|category| &category.name).collect();
        assert_eq!(names.len(), categories.len());
        assert!(DEPARTMENTS.iter().all(|department| department.1.len() == LEAVES_EACH));
        for category in &categories {
            assert!(category.parent_category_id.is_none_or(|parent| parent < category.category_id));
        }
        let products: BTreeSet<_> = (1..2_000).map(|id| article(1, id).name).collect();
        assert_eq!(products.len(), 1_999);
    }

    #[test]
    fn every_product_is_in_a_leaf_and_some_descriptions_are_long() {
        let leaves = DEPARTMENT_COUNT + 1..=categories().len() as i64;
        let articles: Vec<_> = (1..400).map(|id| article(3, id)).collect();
        assert!(articles.iter().all(|article| leaves.contains(&article.category_id)));
        let long = articles.iter().filter(|article| article.description.len() > 2_048).count();
        assert!((4..80).contains(&long), "{long} long descriptions");
        assert!(articles.iter().all(|article| article.list_price.0 % 10 == 9));
    }

    #[test]
    fn prices_change_in_steps_around_the_list_price() {
        let (start, list) = (Timestamp(20_000 * DAY), Cents(9_999));
        let prices = Prices::new(1, 7, list, start, 730);
        let seen: BTreeSet<_> = (0..730).map(|day| prices.at(start.plus(day * DAY))).collect();
        assert!((3..18).contains(&seen.len()), "{} prices", seen.len());
        assert!(seen.iter().all(|price| (7_900..=12_600).contains(&price.0)));
    }
}
