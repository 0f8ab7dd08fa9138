//! Options that may grow: structs that are not exhaustive, written in one expression.

/// A method for each field, of its name, that sets it.
macro_rules! setters {
    (const $of:ident { $($field:ident: $type:ty,)* }) => {
        impl $of {$(
            #[doc = concat!("Sets [`", stringify!($field), "`](field@Self::", stringify!($field), ").")]
            #[must_use]
            pub const fn $field(mut self, $field: $type) -> Self {
                self.$field = $field;
                self
            }
        )*}
    };
    ($of:ident $(<$life:lifetime>)? { $($field:ident: $type:ty,)* }) => {
        impl$(<$life>)? $of$(<$life>)? {$(
            #[doc = concat!("Sets [`", stringify!($field), "`](field@Self::", stringify!($field), ").")]
            #[must_use]
            pub fn $field(mut self, $field: $type) -> Self {
                self.$field = $field.into();
                self
            }
        )*}
    };
}

pub(crate) use setters;
