-- Fills an empty, migrated database with the past of a busy platform; see seeding.py, which gives the sizes.
-- Below each heading, "-- Step", stands what is done at once. What looks random is spread by multiples of irrational
-- numbers, so that two databases of a size are alike.

-- Step: people
CREATE FUNCTION seed_share(n bigint, spread integer) RETURNS double precision IMMUTABLE LANGUAGE sql AS
    $$ SELECT n * sqrt((ARRAY[2, 3, 5, 7, 11, 13]::float[])[spread])
              - floor(n * sqrt((ARRAY[2, 3, 5, 7, 11, 13]::float[])[spread])) $$;
-- Digits and capitals, another code for each n: an odd factor loses nothing.
CREATE FUNCTION seed_code(n bigint, length integer) RETURNS text IMMUTABLE LANGUAGE sql AS
    $$ SELECT lpad(upper(to_hex(mod(n * 2654435761, 1::bigint << 4 * length))), length, '0') $$;
CREATE FUNCTION seed_word(n bigint) RETURNS text IMMUTABLE LANGUAGE sql AS
    $$ SELECT (ARRAY['simba', 'twiga', 'chui', 'kiboko', 'tembo', 'nyati', 'swara', 'punda', 'fisi', 'mbuni', 'kanga',
                     'samaki', 'mawimbi', 'pwani', 'mlima', 'ziwa', 'jua', 'mwezi', 'nyota', 'mvua', 'upepo', 'radi'])
              [1 + mod(n * 7, 22)] || mod(n, 997) $$;
CREATE FUNCTION seed_status(event bigint) RETURNS text IMMUTABLE LANGUAGE sql AS
    $$ SELECT CASE WHEN mod(event, 25) = 24 THEN 'pending' WHEN mod(event, 50) = 10 THEN 'rejected'
                   WHEN mod(event, 40) = 22 THEN 'cancelled' ELSE 'approved' END $$;
CREATE FUNCTION seed_type(event bigint, number bigint) RETURNS bigint IMMUTABLE LANGUAGE sql AS
    $$ SELECT 3 * (event - 1) + number $$;
CREATE FUNCTION seed_price(event bigint, number bigint) RETURNS bigint IMMUTABLE LANGUAGE sql AS
    $$ SELECT CASE WHEN number = 1 THEN 500 WHEN number = 2 THEN 2500 WHEN mod(event, 10) = 0 THEN 0 ELSE 300 END $$;
CREATE FUNCTION seed_is_deleted(person bigint) RETURNS boolean IMMUTABLE LANGUAGE sql AS
    $$ SELECT person > 1000 AND mod(person, 200) = 7 $$;

INSERT INTO users (id, first_name, last_name, email, phone, password_hash, role, status, calendar_version,
                   muted_notifications, email_verified_at, created_at)
SELECT n,
       (ARRAY['Wanjiru', 'Otieno', 'Achieng', 'Kamau', 'Njeri', 'Mutua', 'Halima', 'Kiprop'])[1 + mod(n, 8)],
       (ARRAY['Mwangi', 'Odhiambo', 'Wafula', 'Kariuki', 'Cherono', 'Hassan', 'Mutiso'])[1 + mod(n, 7)] || n,
       'person' || n || '@example.co.ke',
       CASE WHEN seed_is_deleted(n) THEN 'deleted-' || n ELSE '2547' || lpad(n::text, 8, '0') END,
       '!',
       CASE WHEN n = 1 THEN 'admin' WHEN n <= 1 + %(organizers)s THEN 'organizer' ELSE 'attendee' END,
       CASE WHEN seed_is_deleted(n) THEN 'deleted' WHEN mod(n, 300) = 11 THEN 'banned' ELSE 'active' END,
       1, '{}', now() - interval '500 days', now() - interval '500 days'
FROM generate_series(1, 1 + %(organizers)s + %(buyers)s) AS n;

INSERT INTO consents (user_id, purpose, is_given, created_at)
SELECT id, 'terms', true, created_at FROM users;

INSERT INTO sessions (user_id, family_hash, refresh_hash, user_agent, created_at, last_used_at, expires_at, ended_at,
                      ended_by)
SELECT id, sha256(('family' || id)::bytea), sha256(('refresh' || id)::bytea), 'Mozilla/5.0 (Linux; Android 14)',
       began, began, began + interval '30 days',
       CASE WHEN mod(id, 3) = 0 THEN began + interval '1 hour' END,
       CASE WHEN mod(id, 3) = 0 THEN 'logout' END
FROM users, LATERAL (SELECT now() - seed_share(id, 1) * interval '50 days' AS began) AS times
WHERE status = 'active';

INSERT INTO one_time_tokens (purpose, user_id, token_hash, address, created_at, expires_at, ended_at)
SELECT 'verify_email', id, sha256(('once' || id)::bytea), email, now() - interval '20 days', now() - interval '18 days',
       now() - interval '19 days'
FROM users WHERE mod(id, 20) = 0 AND status = 'active';

INSERT INTO two_factors (user_id, sealed_secret, recovery_hashes, created_at)
SELECT id, sha256(('two' || id)::bytea), '{}', created_at FROM users WHERE mod(id, 10) = 3;

INSERT INTO counters (purpose, subject_hash, ends_at)
SELECT 'payment_check', sha256(('counter' || id)::bytea), now() + seed_share(id, 2) * interval '5 minutes'
FROM users WHERE mod(id, 50) = 0;

-- Step: events
-- Seven of ten are over; the first is what everybody wants to go to, and a few last for weeks.
INSERT INTO events (id, organizer_id, title, description, location, starts_at, ends_at, category, tags, status,
                    rejection_reason, refund_until_hours, transfer_until_hours, allows_reentry, created_at, updated_at,
                    calendar_sequence, cancelled_in_public, reminded_at, reviews_invited_at)
SELECT n, 2 + mod(n - 1, %(organizers)s),
       (ARRAY['Jazz', 'Benga', 'Afrobeat', 'Comedy', 'Tech', 'Rugby', 'Fashion', 'Poetry', 'Gospel', 'Film'])
           [1 + mod(n, 10)] || ' ' ||
       (ARRAY['Night', 'Festival', 'Summit', 'Sunday', 'Marathon', 'Workshop', 'Gala'])[1 + mod(n, 7)] || ' ' ||
       seed_word(n),
       'An evening with ' || seed_word(n + 1) || ' and ' || seed_word(n + 2) || ', with food from ' ||
       seed_word(n + 3) || ' kitchens. Gates open an hour before; children come in free.',
       (ARRAY['Alchemist', 'KICC', 'Carnivore', 'Uhuru Gardens', 'Michael Joseph Centre'])[1 + mod(n, 5)] || ', ' ||
       (ARRAY['Nairobi', 'Mombasa', 'Kisumu', 'Nakuru', 'Eldoret'])[1 + mod(n, 5)],
       starts_at, starts_at + CASE WHEN mod(n, 500) = 7 THEN interval '60 days' ELSE interval '4 hours' END,
       (ARRAY['Music', 'Comedy', 'Technology', 'Sports', 'Fashion', 'Arts', 'Faith', 'Food'])[1 + mod(n, 8)],
       'live,' || seed_word(n), status, CASE WHEN status = 'rejected' THEN 'Please say where it is.' END,
       24, 2, false, starts_at - interval '60 days', starts_at - interval '50 days', 0, status = 'cancelled',
       CASE WHEN starts_at < now() + interval '1 day' THEN starts_at - interval '1 day' END,
       CASE WHEN starts_at < now() - interval '2 days' THEN starts_at + interval '28 hours' END
FROM generate_series(1, %(events)s) AS n,
     LATERAL (SELECT now() + CASE WHEN n = 1 THEN interval '14 days'
                                  ELSE (seed_share(n, 1) * 600 - 420) * interval '1 day' END AS starts_at,
                     seed_status(n) AS status) AS facts;

-- Nothing is sealed in these: nobody looks at tickets of what is over.
INSERT INTO ticket_keys (event_id, public_key, sealed_private_key, created_at)
SELECT id, sha256(('public' || id)::bytea), sha256(('private' || id)::bytea), created_at
FROM events WHERE ends_at < now() - interval '2 days';

INSERT INTO gate_passes (event_id, made_by_id, name, gates, secret_hash, created_at)
SELECT id, organizer_id, 'Juma', '{}', sha256(('pass' || id)::bytea), created_at FROM events WHERE mod(id, 10) = 1;

INSERT INTO saved_events (user_id, event_id, created_at)
SELECT id, 1 + floor(seed_share(id, which + 1) * %(events)s), created_at
FROM users, generate_series(1, 2) AS which WHERE role = 'attendee'
ON CONFLICT DO NOTHING;

-- Step: orders
-- One of twenty is for the first event, the others for some events far more than for others. The newest are open.
CREATE TEMPORARY TABLE seed_orders ON COMMIT DROP AS
SELECT row_number() OVER (ORDER BY created_at, n) AS id, n, event_id, starts_at, buyer_id, type_number, quantity,
       is_second, status, created_at, created_at + interval '10 minutes' AS expires_at,
       quantity * seed_price(event_id, type_number)
           + CASE WHEN is_second THEN seed_price(event_id, 1 + mod(type_number, 3)) ELSE 0 END AS total_kes
FROM (
    SELECT n, event.id AS event_id, event.starts_at,
           2 + %(organizers)s + floor(seed_share(n, 3) * %(buyers)s)::bigint AS buyer_id,
           1 + mod(n, 3) AS type_number, 1 + floor(seed_share(n, 4) * 3)::bigint AS quantity, mod(n, 5) = 0 AS is_second,
           CASE WHEN n <= %(open_orders)s THEN 'pending'
                WHEN event.status = 'cancelled' THEN 'refunded'
                WHEN chance < 0.86 THEN 'paid'
                WHEN chance < 0.92 THEN 'expired'
                WHEN chance < 0.96 THEN 'failed'
                WHEN chance < 0.98 THEN 'cancelled'
                WHEN chance < 0.99 OR (seed_share(n, 4) < 0.34 AND mod(n, 5) <> 0) THEN 'refunded'
                ELSE 'partly_refunded' END AS status,
           CASE WHEN n <= %(open_orders)s THEN now() - seed_share(n, 1) * interval '12 minutes'
                ELSE least(event.starts_at, now()) - seed_share(n, 2) * interval '45 days' - interval '15 minutes'
                END AS created_at
    FROM (
        SELECT n, seed_share(n, 5) AS chance,
               CASE WHEN n <= %(open_orders)s OR mod(n, 20) = 0 THEN 1
                    ELSE 1 + floor(power(seed_share(n, 6), 2) * %(events)s)::bigint END AS wanted
        FROM generate_series(1, %(orders)s) AS n
    ) AS drawn
    JOIN events AS event
        ON event.id = CASE WHEN seed_status(wanted) IN ('pending', 'rejected') THEN 1 ELSE wanted END
) AS placed;
CREATE UNIQUE INDEX ON seed_orders (id);
ANALYZE seed_orders;

INSERT INTO orders (id, buyer_id, event_id, reference, poll_id, cart, total_kes, phone, status, refund_reason,
                    created_at, expires_at, paid_at, cancelled_at)
SELECT id, buyer_id, event_id, seed_code(id, 10), md5(id::text), seed_type(event_id, type_number) || 'x' || quantity,
       total_kes,
       CASE WHEN seed_is_deleted(buyer_id) AND starts_at < now() - interval '40 days' THEN 'deleted'
            ELSE '2547' || lpad(buyer_id::text, 8, '0') END,
       status, CASE WHEN status IN ('refunded', 'partly_refunded') THEN 'requested' END, created_at, expires_at,
       CASE WHEN status IN ('paid', 'refunded', 'partly_refunded') THEN created_at + interval '40 seconds' END,
       CASE WHEN status = 'cancelled' THEN created_at + interval '2 minutes' END
FROM seed_orders ORDER BY id;

INSERT INTO order_items (order_id, ticket_type_id, quantity, unit_price_kes, attendees)
SELECT id, seed_type(event_id, type_number), quantity, seed_price(event_id, type_number),
       ('[' || repeat(attendee || ',', quantity::int - 1) || attendee || ']')::jsonb
FROM (
    SELECT id, event_id, type_number, quantity, buyer_id FROM seed_orders
    UNION ALL
    SELECT id, event_id, 1 + mod(type_number, 3), 1, buyer_id FROM seed_orders WHERE is_second
) AS lines,
LATERAL (SELECT '{"email": "person' || buyer_id || '@example.co.ke", "phone": "2547' || lpad(buyer_id::text, 8, '0')
                || '", "last_name": "Mwangi' || buyer_id || '", "first_name": "Njeri"}' AS attendee) AS whom
ORDER BY id;

-- Step: ticket types
-- With what their orders come to: `sold` and `held` are what the rows add up to.
INSERT INTO ticket_types (id, event_id, name, price_kes, quantity, sold, held, min_per_order, max_per_order)
SELECT seed_type(event.id, number), event.id, (ARRAY['Regular', 'VIP', 'Early Bird'])[number],
       seed_price(event.id, number), coalesce(sold, 0) + coalesce(held, 0) + 500, coalesce(sold, 0), coalesce(held, 0),
       1, 10
FROM events AS event
CROSS JOIN generate_series(1, 3) AS number
LEFT JOIN (
    SELECT item.ticket_type_id,
           sum(CASE WHEN o.status = 'paid' THEN item.quantity
                    WHEN o.status <> 'partly_refunded' THEN 0
                    WHEN item.ticket_type_id = seed_type(o.event_id, o.type_number) THEN item.quantity - 1
                    ELSE item.quantity END) AS sold,
           sum(item.quantity) FILTER (WHERE o.status = 'pending') AS held
    FROM order_items AS item JOIN seed_orders AS o ON o.id = item.order_id
    GROUP BY item.ticket_type_id
) AS taken ON taken.ticket_type_id = seed_type(event.id, number)
ORDER BY 1;

-- Step: payments
-- Of every tenth order that was paid the first prompt had failed.
INSERT INTO payments (order_id, method, phone, amount_kes, callback_token_hash, merchant_request_id, checkout_request_id,
                      receipt, status, result_code, result_text, paid_through, refunded_kes, created_at, pushed_at,
                      paid_at, reconciled_at, next_query_at, queries)
SELECT id, 'prompt', '2547' || lpad(buyer_id::text, 8, '0'), total_kes, sha256(('callback' || id || attempt)::bytea),
       'merchant-' || id || '-' || attempt, 'ws_CO_' || id || '-' || attempt,
       CASE WHEN is_paid THEN 'S' || seed_code(id, 9) END,
       CASE WHEN is_paid THEN 'paid' WHEN status = 'pending' THEN 'prompted' ELSE 'failed' END,
       CASE WHEN is_paid THEN '0' WHEN status <> 'pending' THEN '1032' END,
       CASE WHEN NOT is_paid AND status <> 'pending' THEN 'You cancelled the request.' END,
       CASE WHEN is_paid THEN 'stk_callback' END,
       CASE WHEN NOT is_paid THEN 0 WHEN status = 'refunded' THEN total_kes
            WHEN status = 'partly_refunded' THEN seed_price(event_id, type_number) ELSE 0 END,
       asked_at, asked_at + interval '1 second',
       CASE WHEN is_paid THEN asked_at + interval '20 seconds' END,
       CASE WHEN is_paid AND asked_at < now() - interval '1 hour' THEN asked_at + interval '15 minutes' END,
       CASE WHEN status = 'pending' THEN asked_at + interval '15 minutes' END, 0
FROM seed_orders, generate_series(1, 2) AS attempt,
     LATERAL (SELECT attempt = 2 AND status IN ('paid', 'refunded', 'partly_refunded') AS is_paid,
                     created_at + (attempt - 1) * interval '20 seconds' AS asked_at) AS facts
WHERE total_kes > 0 AND (attempt = 2 OR (mod(n, 10) = 3 AND status <> 'pending'))
ORDER BY id, attempt;

INSERT INTO mpesa_messages (payment_id, receipt, channel, body, remote_address, received_at, settled_at, tries, verdict,
                            blanked_at)
SELECT id, receipt, 'stk_callback',
       ('{"Body":{"stkCallback":{"MerchantRequestID":"' || merchant_request_id || '","CheckoutRequestID":"'
        || checkout_request_id || '","ResultCode":' || result_code || ',"ResultDesc":"'
        || CASE result_code WHEN '0' THEN 'The service request is processed successfully.","CallbackMetadata":{"Item":'
                                          || '[{"Name":"Amount","Value":' || amount_kes || '.00},'
                                          || '{"Name":"MpesaReceiptNumber","Value":"' || receipt || '"}]}'
                            ELSE 'Request cancelled by user."' END || '}}}')::bytea,
       '196.201.214.200', created_at + interval '20 seconds', created_at + interval '21 seconds', 0,
       CASE result_code WHEN '0' THEN 'Pay: ' || receipt ELSE 'Fail: 1032' END,
       CASE WHEN created_at < now() - interval '365 days' THEN now() - interval '1 hour' END
FROM payments WHERE status <> 'prompted' ORDER BY id;

INSERT INTO refunds (payment_id, order_id, amount_kes, method, status, reason, created_at, sent_at, done_at, receipt,
                     next_look_at, looks)
SELECT payment.id, o.id, payment.refunded_kes, CASE o.status WHEN 'refunded' THEN 'reversal' ELSE 'b2c' END, 'done',
       'requested', payment.paid_at + interval '1 day', payment.paid_at + interval '1 day',
       payment.paid_at + interval '25 hours', 'R' || seed_code(o.id, 9), NULL, 0
FROM payments AS payment JOIN orders AS o ON o.id = payment.order_id WHERE payment.refunded_kes > 0 ORDER BY o.id;

INSERT INTO mpesa_requests (kind, refund_id, result_token_hash, originator_conversation_id, conversation_id, status,
                            created_at, answered_at)
SELECT CASE method WHEN 'reversal' THEN 'reversal' ELSE 'b2c' END, id, sha256(('result' || id)::bytea), 'ours-' || id,
       'AG_' || id, 'answered', created_at, done_at
FROM refunds ORDER BY id;

INSERT INTO claims (order_id, user_id, receipt, status, created_at)
SELECT id, buyer_id, 'C' || seed_code(id, 9), 'closed', created_at FROM orders WHERE mod(id, 1000) = 5;

INSERT INTO idempotency_keys (user_id, key, request_hash, working_until, order_id, status, body, created_at)
SELECT buyer_id, md5('key' || id), sha256(('request' || id)::bytea), created_at, id, 201, '{}',
       now() - seed_share(id, 1) * interval '1 day'
FROM seed_orders WHERE n <= greatest(%(open_orders)s, %(orders)s / 100);

-- Step: tickets
-- Of what is over, four of five came.
INSERT INTO tickets (id, order_id, ticket_type_id, code, price_kes, first_name, last_name, email, phone, holder_id,
                     rotation, status, issued_at, checked_in_at, voided_at, refund_id, changed_at)
SELECT id, order_id, ticket_type_id,
       substr(code, 1, 4) || '-' || substr(code, 5, 4) || '-' || substr(code, 9, 4), price_kes, 'Njeri',
       'Mwangi' || buyer_id, 'person' || buyer_id || '@example.co.ke', '2547' || lpad(buyer_id::text, 8, '0'), buyer_id,
       CASE WHEN mod(id, 500) = 0 THEN 2 ELSE 1 END, status, issued_at,
       CASE WHEN status = 'used' THEN starts_at END,
       CASE WHEN status = 'void' THEN issued_at + interval '1 day' END, CASE WHEN status = 'void' THEN refund_id END,
       CASE status WHEN 'used' THEN starts_at WHEN 'void' THEN issued_at + interval '1 day' ELSE issued_at END
FROM (
    SELECT row_number() OVER () AS id, o.id AS order_id, item.ticket_type_id, item.unit_price_kes AS price_kes,
           o.buyer_id, o.starts_at, o.created_at + interval '40 seconds' AS issued_at, refund.id AS refund_id,
           CASE WHEN o.status = 'refunded' THEN 'void'
                WHEN o.status = 'partly_refunded' AND place = 1
                     AND item.ticket_type_id = seed_type(o.event_id, o.type_number) THEN 'void'
                WHEN o.starts_at < now() AND mod(o.n, 5) <> 4 THEN 'used' ELSE 'valid' END AS status
    FROM (SELECT * FROM seed_orders ORDER BY id) AS o
    JOIN order_items AS item ON item.order_id = o.id
    LEFT JOIN refunds AS refund ON refund.order_id = o.id
    CROSS JOIN LATERAL generate_series(1, item.quantity) AS place
    WHERE o.status IN ('paid', 'refunded', 'partly_refunded')
) AS issued, LATERAL (SELECT seed_code(id, 12) AS code) AS coded;

INSERT INTO superseded_codes (ticket_id, code, superseded_at)
SELECT id, 'OLD' || id, changed_at FROM tickets WHERE rotation = 2;

INSERT INTO transfers (ticket_id, from_id, from_name, from_email, from_phone, to_email, status, offered_at, ended_at)
SELECT id, holder_id, first_name || ' ' || last_name, email, phone, 'friend' || id || '@example.co.ke', 'withdrawn',
       issued_at, issued_at + interval '1 hour'
FROM tickets WHERE mod(id, 200) = 1;

INSERT INTO scans (event_id, ticket_id, user_id, gate, device, nonce, direction, result, is_conflict, scanned_at,
                   received_at)
SELECT event.id, ticket.id, event.organizer_id, 'Main', 'Phone ' || mod(ticket.id, 6), md5('scan' || ticket.id), 'in',
       'ok', false, ticket.checked_in_at + seed_share(ticket.id, 1) * interval '2 hours', ticket.checked_in_at
FROM tickets AS ticket
JOIN ticket_types AS type ON type.id = ticket.ticket_type_id
JOIN events AS event ON event.id = type.event_id
WHERE ticket.status = 'used';

INSERT INTO reviews (event_id, attendee_id, rating, comment, created_at)
SELECT event_id, buyer_id, 1 + mod(n, 5), 'Poa sana', starts_at + interval '1 day'
FROM seed_orders
WHERE status = 'paid' AND starts_at < now() - interval '2 days' AND mod(n, 8) = 1
ON CONFLICT DO NOTHING;

-- Step: what was told and written down
INSERT INTO notifications (key, kind, channel, user_id, address, facts, state, tries, next_try_at, sent_at, created_at)
SELECT 'order_paid/order ' || id || '/' || buyer_id || '/email', 'order_paid', 'email', buyer_id,
       'person' || buyer_id || '@example.co.ke',
       jsonb_build_object('first_name', 'Njeri', 'order', id, 'paid_kes', total_kes, 'event',
                          jsonb_build_object('id', event_id, 'title', 'Jazz Night', 'location', 'Alchemist, Nairobi')),
       CASE WHEN is_queued THEN 'queued' ELSE 'sent' END, CASE WHEN is_queued THEN 0 ELSE 1 END,
       CASE WHEN is_queued THEN now() + interval '1 hour' END,
       CASE WHEN NOT is_queued THEN created_at + interval '50 seconds' END, created_at + interval '40 seconds'
FROM seed_orders, LATERAL (SELECT n < 3 * %(open_orders)s AS is_queued) AS facts
WHERE status IN ('paid', 'refunded', 'partly_refunded') ORDER BY id;

INSERT INTO audit_log (user_id, action, target_type, target_id, details, ip_address, created_at)
SELECT user_id, action, target_type, target_id, details, '41.90.64.1', created_at
FROM (
    SELECT organizer_id AS user_id, 'event_created' AS action, 'event' AS target_type, id AS target_id,
           jsonb_build_object('title', title) AS details, created_at
    FROM events
    UNION ALL
    SELECT user_id, 'logged_in', 'user', user_id, '{}', created_at FROM sessions
    UNION ALL
    SELECT buyer_id, 'order_placed', 'order', id, jsonb_build_object('reference', id, 'total_kes', total_kes), created_at
    FROM seed_orders
    UNION ALL
    SELECT NULL, 'order_paid', 'order', id, '{}', created_at + interval '40 seconds'
    FROM seed_orders WHERE status IN ('paid', 'refunded', 'partly_refunded')
    UNION ALL
    SELECT NULL, 'refund_done', 'refund', id, '{}', done_at FROM refunds
) AS lines
ORDER BY created_at;

INSERT INTO alerts (kind, message, created_at, sent_at, tries, next_try_at)
SELECT 'refund_failed', 'A refund failed.', now() - n * interval '1 day', now() - n * interval '1 day', 1, NULL
FROM generate_series(1, 200) AS n;

-- Step: the tools of this
DROP FUNCTION seed_share, seed_code, seed_word, seed_status, seed_type, seed_price, seed_is_deleted;
