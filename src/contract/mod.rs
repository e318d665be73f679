//! What other people's code depends on, as documents for their tools: JSON Schema of the events,
//! AsyncAPI of the exchange, OpenAPI of the edge. All of it is made from the closed lists and the
//! bounds that the program itself works with; `docs/schema/` has copies, which a test compares.

mod events;
mod bookings;
mod wrappings;
mod problems;
mod asyncapi;
mod openapi;

pub use asyncapi::asyncapi;
pub use events::{event_schema, event_type_schema};
pub use openapi::{CONTENT_TYPES, openapi};
pub use problems::problem;

use serde_json::{Map, Value, json};

/// The dialect of our schemas.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Where the definitions stand in a document, so that they can refer to each other.
#[derive(Clone, Copy, Debug)]
struct Place(&'static str);

impl Place {
    /// In a document that is a schema itself.
    const SCHEMA: Self = Self("#/$defs/");
    /// In an OpenAPI or AsyncAPI document.
    const COMPONENTS: Self = Self("#/components/schemas/");

    /// A reference to the definition of this name.
    fn of(self, name: &str) -> Value {
        json!({ "$ref": format!("{}{name}", self.0) })
    }
}

/// Definitions by name.
type Definitions = Map<String, Value>;

/// Only those definitions that are needed for `root`, directly or by each other.
fn needed(root: &Value, place: Place, all: &Definitions) -> Definitions {
    let mut found = Definitions::new();
    let mut open = vec![root.clone()];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(members) => {
                let name =
                    members.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix(place.0));
                if let Some(name) = name
                    && let Some(definition) = all.get(name)
                    && found.insert(name.to_owned(), definition.clone()).is_none()
                {
                    open.push(definition.clone());
                }
                open.extend(members.into_iter().map(|(_, member)| member));
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    found
}
