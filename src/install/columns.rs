//! The columns of the gateway's that matter: the one list of what they are for and who reads them.

/// Table and name; what for (empty: only how many rows have it is told); whether it is read when deciding, and not
/// only when looking around; whether the baseline makes it.
pub(super) struct Known(
    pub(super) &'static str,
    pub(super) &'static str,
    pub(super) &'static str,
    pub(super) bool,
    pub(super) bool,
);

/// All of them.
pub(super) const KNOWN: [Known; 21] = [
    Known("companies", "id", "the tenant", true, true),
    Known("staff", "id", "who is assigned", true, true),
    Known("staff", "company_id", "the tenant: nobody is matched across companies", true, true),
    Known("staff", "name", "matching by name", true, false),
    Known("staff", "first_name", "matching by name", true, true),
    Known("staff", "last_name", "matching by name", true, true),
    Known("staff", "email", "matching by e-mail", true, true),
    Known("staff", "is_active", "who may be assigned", true, true),
    Known("staff", "active", "who may be assigned, without is_active", true, false),
    Known("staff", "deleted_at", "who may be assigned", true, false),
    Known("staff", "calcom_user_id", "", false, false),
    Known("appointments", "id", "what is assigned", true, true),
    Known("appointments", "company_id", "the tenant", true, true),
    Known("appointments", "staff_id", "read and written: who it is with", true, true),
    Known("appointments", "calcom_host_id", "read and written: which Cal.com host it is with", true, true),
    Known("appointments", "calcom_v2_booking_id", "finding the booking", true, true),
    Known("appointments", "calcom_v2_booking_uid", "finding the booking", true, false),
    Known("appointments", "calcom_booking_id", "finding the booking", true, false),
    Known("appointments", "assignment_model_used", "", false, false),
    Known("appointments", "updated_at", "written: when", false, true),
    Known("users", "id", "who changed a mapping", false, true),
];
