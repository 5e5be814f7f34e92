use std::collections::VecDeque;

use super::state::{ById, Opening, Unsettled};
use super::{Now, Plan, Statement};
use crate::draws::Draw;
use crate::goods::{DEPARTMENT_COUNT, article, describe, moved_price, popularity};
use crate::model::{Category, Cents, Product};

/// How many products are looked at for one that fits.
const TRIES: u32 = 8;
/// No more is bought in when this many pieces are there.
const FULL: i32 = 5_000;
/// Share of new products, of 10,000, that are withdrawn before anybody could buy them.
const WITHDRAWN: u64 = 1_500;
const SEASONS: [&str; 6] = ["Spring", "Summer", "Autumn", "Winter", "Holiday", "Back to School"];

struct Item {
    price: Cents,
    /// Pieces that can be promised: those in stock and not on their way out.
    available: i32,
}

/// Products and categories.
pub(super) struct Goods {
    seed: u64,
    range: u64,
    items: ById<Item>,
    /// Popularity summed up, and the product.
    offered: Vec<(u64, i64)>,
    incoming: Unsettled<(i64, i32)>,
    listed: Unsettled<i64>,
    /// Settled, but the newest of all, so it cannot be withdrawn yet.
    newest: Option<i64>,
    withdrawals: VecDeque<i64>,
    /// Categories that products can be put into.
    leaves: Vec<i64>,
    last_category_id: i64,
    new_leaves: Unsettled<i64>,
}

impl Goods {
    pub(super) fn new(seed: u64, range: u64, opening: &Opening) -> Self {
        let item = |product: &super::OpeningProduct| Item { price: product.price, available: product.stock };
        let mut goods = Self {
            seed,
            range,
            items: ById::new(opening.products.iter().map(|product| (product.product_id, item(product)))),
            offered: Vec::with_capacity(opening.products.len()),
            incoming: Unsettled::new(),
            listed: Unsettled::new(),
            newest: None,
            withdrawals: VecDeque::new(),
            leaves: opening.categories.iter().filter(|row| row.1.is_some()).map(|row| row.0).collect(),
            last_category_id: opening.categories.iter().map(|row| row.0).max().unwrap_or(0),
            new_leaves: Unsettled::new(),
        };
        opening.products.iter().for_each(|product| goods.offer(product.product_id));
        goods
    }

    pub(super) fn settle(&mut self, below: u64, draw: &mut Draw) {
        while let Some((product_id, pieces)) = self.incoming.pop(below) {
            if let Some(item) = self.items.get_mut(product_id) {
                item.available = item.available.saturating_add(pieces);
            }
        }
        while let Some(category_id) = self.new_leaves.pop(below) {
            self.leaves.push(category_id);
        }
        while let Some(product_id) = self.listed.pop(below) {
            match self.newest.replace(product_id) {
                Some(before) if draw.chance(WITHDRAWN) => self.withdrawals.push_back(before),
                Some(before) => self.offer(before),
                None => {}
            }
        }
    }

    fn offer(&mut self, product_id: i64) {
        let sum = self.offered.last().map_or(0, |last| last.0);
        self.offered.push((sum + popularity(self.seed, product_id, self.range), product_id));
    }

    /// A product as popularity has it.
    fn wanted(&self, draw: &mut Draw) -> Option<i64> {
        let point = draw.below(self.offered.last()?.0);
        let at = self.offered.partition_point(|offered| offered.0 <= point);
        self.offered.get(at).map(|offered| offered.1)
    }

    /// Takes up to so many pieces of some product: which, how many, at what price.
    pub(super) fn take(&mut self, draw: &mut Draw, pieces: i32) -> Option<(i64, i32, Cents)> {
        for _ in 0..TRIES {
            let product_id = self.wanted(draw)?;
            let item = self.items.get_mut(product_id)?;
            let taken = pieces.min(item.available);
            if taken > 0 {
                item.available -= taken;
                return Some((product_id, taken, item.price));
            }
        }
        None
    }

    /// Pieces that this transaction puts into stock.
    pub(super) fn give(&mut self, now: &Now, product_id: i64, pieces: i32) {
        self.incoming.push(now.number, (product_id, pieces));
    }

    /// Buys in what is scarcest among some popular products.
    pub(super) fn restock(&mut self, draw: &mut Draw, now: &Now) -> Option<Plan> {
        let available = |product_id: &i64| self.items.get(*product_id).map_or(FULL, |item| item.available);
        let product_id = (0..TRIES).filter_map(|_| self.wanted(draw)).min_by_key(available)?;
        if available(&product_id) >= FULL {
            return None;
        }
        let pieces = i32::try_from(draw.between(4, 40) * 10).unwrap_or(40);
        self.give(now, product_id, pieces);
        Some((product_id, vec![Statement::MoveStock(vec![(product_id, pieces)])]))
    }

    pub(super) fn change_price(&mut self, draw: &mut Draw, now: &Now) -> Option<Plan> {
        let product_id = draw.pick(&self.offered).1;
        let price = moved_price(draw, article(now.seed, product_id).list_price);
        let item = self.items.get_mut(product_id).filter(|item| item.price != price)?;
        item.price = price;
        Some((product_id, vec![Statement::UpdatePrice { product_id, price }]))
    }

    pub(super) fn describe(&self, draw: &mut Draw) -> Option<Plan> {
        let product_id = self.wanted(draw)?;
        let description = describe(draw, &article(self.seed, product_id).name);
        Some((product_id, vec![Statement::UpdateDescription { product_id, description }]))
    }

    pub(super) fn list_product(&mut self, draw: &mut Draw, now: &Now) -> Option<Plan> {
        if self.leaves.is_empty() {
            return None;
        }
        let product_id = self.items.last_id().max(0) + 1;
        let article = article(now.seed, product_id);
        let stock_quantity = i32::try_from(draw.between(20, 400)).unwrap_or(20);
        let product = Product {
            product_id,
            name: article.name,
            description: article.description,
            category_id: draw.pick(&self.leaves),
            price: article.list_price,
            stock_quantity,
            creation_date: now.at,
        };
        self.items.insert(product_id, Item { price: product.price, available: stock_quantity });
        self.listed.push(now.number, product_id);
        Some((product_id, vec![Statement::InsertProduct(product)]))
    }

    /// Deletes a product that was listed but never offered, and is not the newest.
    pub(super) fn withdraw(&mut self) -> Option<Plan> {
        let product_id = self.withdrawals.pop_front()?;
        self.items.remove(product_id);
        Some((product_id, vec![Statement::DeleteProduct { product_id }]))
    }

    /// Moves a category to another department, or gives one of the seasonal ones another name.
    pub(super) fn change_category(&self, draw: &mut Draw) -> Option<Plan> {
        if self.leaves.is_empty() {
            return None;
        }
        let category_id = draw.pick(&self.leaves);
        let seasonal = category_id > crate::goods::categories().len() as i64;
        let statement = if seasonal && draw.chance(5_000) {
            Statement::UpdateCategoryName { category_id, name: season(draw, category_id) }
        } else {
            Statement::UpdateParent { category_id, parent_category_id: draw.between(1, DEPARTMENT_COUNT) }
        };
        Some((category_id, vec![statement]))
    }

    pub(super) fn new_category(&mut self, draw: &mut Draw, now: &Now) -> Plan {
        self.last_category_id += 1;
        let category_id = self.last_category_id;
        self.new_leaves.push(now.number, category_id);
        let parent_category_id = Some(draw.between(1, DEPARTMENT_COUNT));
        let category = Category { category_id, name: season(draw, category_id), parent_category_id };
        (category_id, vec![Statement::InsertCategory(category)])
    }
}

fn season(draw: &mut Draw, category_id: i64) -> String {
    format!("{} Picks {category_id}", draw.pick(&SEASONS))
}
