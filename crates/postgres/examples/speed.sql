-- An order book: 300k orders, 900k details, 50k users.
create table users(user_id bigint primary key, name varchar(100) not null, email varchar(200), country varchar(40), city varchar(60), loyalty_status varchar(20) not null, created_at timestamptz not null);
create table product_categories(category_id int primary key, name varchar(100) not null, parent_id int);
create table products(product_id bigint primary key, name varchar(200) not null, category_id int not null, price numeric(12,2) not null, stock int not null, created_at timestamptz not null);
create table orders(order_id bigint primary key, user_id bigint not null, order_date timestamptz not null, total_amount numeric(12,2) not null, status varchar(20) not null, delivery_date timestamptz null);
create table order_details(order_detail_id bigint primary key, order_id bigint not null, product_id bigint not null, quantity int not null, price_per_unit numeric(12,2) not null, total_amount numeric(12,2) not null);
insert into product_categories select g,'category '||g, nullif(g/10,0) from generate_series(1,40) g;
insert into products select g,'product '||g, 1+g%40, (random()*500)::numeric(12,2), (random()*1000)::int, now()-random()*interval '700 days' from generate_series(1,2000) g;
insert into users select g,'user name '||g,'user'||g||'@example.com',(array['PL','DE','US','FR','GE'])[1+g%5],'city '||(g%97),(array['Gold','Silver','Bronze'])[1+g%3], now()-random()*interval '900 days' from generate_series(1,50000) g;
insert into orders select g,1+(random()*49999)::int, d, (random()*900+10)::numeric(12,2), s, case when s in ('Delivered','Returned') then d+random()*interval '12 days' end from (select g, now()-random()*interval '700 days' d,(array['Pending','Completed','Aborted','Delivered','Returned'])[1+(random()*4)::int] s from generate_series(1,300000) g) q;
insert into order_details select g,1+(g-1)/3,1+(random()*1999)::int, q, p, (q*p)::numeric(12,2) from (select g,1+(random()*4)::int q,(random()*200+1)::numeric(12,2) p from generate_series(1,900000) g) z;
analyze;
