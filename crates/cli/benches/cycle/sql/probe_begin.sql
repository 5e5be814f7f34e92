-- What probes refer to: nothing of the shop's own, which may be deleted meanwhile.
INSERT INTO product_categories (category_id, name, parent_category_id) VALUES ({probe}, 'probe', NULL);
INSERT INTO products (product_id, name, description, category_id, price, stock_quantity, creation_date)
VALUES ({probe}, 'probe', '', {probe}, 1, 0, timestamptz '1900-01-01 00:00Z');
INSERT INTO users (user_id, first_name, last_name, email, phone_number, registration_date, loyalty_status)
VALUES ({probe}, 'probe', 'probe', 'probe@example.invalid', '', timestamptz '1900-01-01 00:00Z', 'Basic');
