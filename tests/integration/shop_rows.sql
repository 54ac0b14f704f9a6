-- Rows for strange_schema.sql.
INSERT INTO countries SELECT chr(65 + i / 26) || chr(65 + i % 26), 'country ' || i
  FROM generate_series(0, 39) AS i;
-- The circle of stores and staff, and bosses in chains.
ALTER TABLE stores DROP CONSTRAINT stores_manager_id_fkey;
INSERT INTO stores (manager_id, country, name)
  SELECT i * 5, (SELECT code FROM countries ORDER BY code OFFSET i % 40 LIMIT 1), 'store ' || i
  FROM generate_series(1, 40) AS i;
INSERT INTO staff (store_id, boss_id, badge, email, feeling, born, salary, phones, active)
  SELECT 1 + i % 40, NULLIF(i / 3, 0), md5(i::text)::uuid, 'person' || i || '@real.example',
    CASE i % 2 WHEN 0 THEN 'happy' ELSE 'sad' END::mood,
    CASE WHEN i % 7 > 0 THEN date '1980-01-01' + i END, 1000 + i,
    CASE WHEN i % 3 > 0 THEN ARRAY['+82-10-' || 1000 + i, NULL] ELSE '{}' END, i % 5 > 0
  FROM generate_series(1, 300) AS i;
ALTER TABLE stores ADD FOREIGN KEY (manager_id) REFERENCES staff;
INSERT INTO badges SELECT badge, '2024-02-29 12:00+09' FROM staff WHERE id % 2 = 0;
INSERT INTO tenants SELECT i, NULLIF(i / 2, 0) FROM generate_series(1, 60) AS i;
INSERT INTO orders (tenant_id, number, staff_id, follows, status, document, note, placed)
  SELECT 1 + i % 60, 1 + i / 60, NULLIF(i % 301, 0), NULLIF(i / 60, 0),
    (ARRAY['open', 'paid', 'closed'])[1 + i % 3],
    jsonb_build_object('owner', jsonb_build_object('phone', '010-' || i), 'tags', i),
    CASE WHEN i % 4 > 0 THEN E'a note\twith\nlines \\N ' || i END, timestamp '2024-01-01' + i * interval '1 hour'
  FROM generate_series(0, 1199) AS i;
INSERT INTO tags SELECT i, 'tag ' || i FROM generate_series(1, 20) AS i;
INSERT INTO order_tags
  SELECT tenant_id, number, 1 + (tenant_id * 7 + number) % 20 FROM orders WHERE number % 3 = 0;
INSERT INTO payments (paid, tenant_id, number, amount)
  SELECT date '2023-06-01' + (number * 30), tenant_id, number, number * 10
  FROM orders WHERE status = 'paid';
INSERT INTO log SELECT '2024-01-01'::timestamptz + i * interval '1 minute', 'line ' || i / 2
  FROM generate_series(1, 500) AS i;
INSERT INTO places SELECT i, 'city ' || i FROM generate_series(1, 50) AS i;
INSERT INTO capitals SELECT i, 'capital ' || i, '1945-08-15' FROM generate_series(51, 80) AS i;
INSERT INTO notes (subject_kind, subject_id, body)
  SELECT CASE i % 2 WHEN 0 THEN 'tenant' ELSE 'staff' END, 1 + i % 55, 'about ' || i
  FROM generate_series(1, 200) AS i;
ANALYZE;
