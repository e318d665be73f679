//! `hostmatch_booking_references`: the references of bookings that led to an appointment.

use sea_orm::entity::prelude::*;

use crate::event::{AppointmentId, BookingRef};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "hostmatch_booking_references")]
pub struct Model {
    /// A `uid` or an `id`, compared by its bytes.
    #[sea_orm(primary_key, auto_increment = false)]
    pub reference: BookingRef,
    #[sea_orm(primary_key, auto_increment = false)]
    pub appointment_id: AppointmentId,
    /// The booking that replaced this one.
    pub replaced_by: Option<BookingRef>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    #[sea_orm(
        belongs_to = "super::appointment::Entity",
        from = "Column::AppointmentId",
        to = "super::appointment::Column::Id"
    )]
    Appointment,
}

related!(appointment by Appointment);
