-- Two companies, their staff and their appointments, as a gateway would have them. All people are
-- invented. Company 2 is another customer of the same gateway, whose data the salon must never see.
INSERT INTO companies (id, name) VALUES (1, 'Salon Rosengarten'), (2, 'Barber Kante');

-- Two people have the same name, so the name alone does not identify either.
INSERT INTO staff (company_id, first_name, last_name, email) VALUES
    (1, 'Clara', 'Sommer', 'clara.sommer@salon.example'),
    (1, 'Jonas', 'Weber', 'jonas.weber@salon.example'),
    (1, 'Anna', 'Koch', 'anna.koch@salon.example'),
    (1, 'Anna', 'Koch', 'a.koch@salon.example'),
    (1, 'Mira', 'Aydin', 'mira.aydin@salon.example'),
    (2, 'Tom', 'Berger', 'tom@barber.example');

-- The appointments that exist from the start; ABC132 is for the event that the user publishes.
INSERT INTO appointments (company_id, calcom_v2_booking_id, starts_at) VALUES
    (1, 'ABC123', datetime('now', '+3 days', 'start of day', '+9 hours')),
    (1, 'ABC124', datetime('now', '+3 days', 'start of day', '+9 hours')),
    (1, 'ABC125', datetime('now', '+3 days', 'start of day', '+9 hours')),
    (1, 'ABC126', datetime('now', '+3 days', 'start of day', '+9 hours')),
    (1, 'ABC127', datetime('now', '+3 days', 'start of day', '+9 hours')),
    (1, 'ABC128', datetime('now', '+3 days', 'start of day', '+9 hours')),
    (2, 'ABC131', datetime('now', '+3 days', 'start of day', '+9 hours')),
    (1, 'ABC132', datetime('now', '+3 days', 'start of day', '+9 hours'));
