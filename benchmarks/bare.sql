-- A free booking as bare SQL, in five round trips. The hot row comes last, as in Ticksy.
\set buyer random(1, :buyers)
BEGIN;
INSERT INTO orders (buyer_id, event_id, reference, poll_id, cart, total_kes, phone, status, created_at, expires_at, paid_at) SELECT id, :event, left(replace(gen_random_uuid()::text, '-', ''), 12), replace(gen_random_uuid()::text, '-', ''), :type || 'x1', 0, phone, 'paid', now(), now() + interval '10 minutes', now() FROM users WHERE id = :first + :buyer - 1 RETURNING id AS booked \gset
WITH item AS (INSERT INTO order_items (order_id, ticket_type_id, quantity, unit_price_kes, attendees) VALUES (:booked, :type, 1, 0, '[{"first_name": "Wanjiku", "last_name": "Kamau", "email": "w@example.co.ke", "phone": "254712345678"}]')) INSERT INTO tickets (order_id, ticket_type_id, code, price_kes, first_name, last_name, email, phone, holder_id, rotation, status, issued_at, changed_at) SELECT :booked, :type, upper(left(replace(gen_random_uuid()::text, '-', ''), 14)), 0, 'Wanjiku', 'Kamau', 'w@example.co.ke', '254712345678', buyer_id, 1, 'valid', now(), now() FROM orders WHERE id = :booked;
UPDATE ticket_types SET sold = sold + 1 WHERE id = :type AND sold + held + 1 <= quantity;
COMMIT;
