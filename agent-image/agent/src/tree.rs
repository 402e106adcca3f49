//! What programs tell about what they show, over the bus of assistive technologies (AT-SPI). In: how much of it is wanted, or what is looked
//! for. Out: things with their role, name and place.
//!
//! Programs of the desktop answer, and what they say is not trusted: an answer that is not understood is a thing without a name, one that
//! does not come costs a bounded time, and there is a bound on all of it.

mod ask;
mod walk;

use agent_protocol::{Code, Element, Elements, Find, List, Tree, TreeNode, TreeOf, Whole};
use tokio::sync::Mutex;
use zbus::Connection;

use crate::fault::{Done, Fault};
use walk::{Bounds, Found};

/// What is looked through at most when something is looked for.
const SEARCHED: Bounds = Bounds { depth: 64, nodes: 5000 };

/// So many of what matches are asked where they are.
const MATCHES: usize = 500;

/// The bus on which programs tell what they show.
pub struct Bus {
    session: String,
    connection: Mutex<Option<Connection>>,
}

impl Bus {
    /// The one that the bus of the session, which has this address, knows.
    pub fn new(session: &str) -> Self {
        Self { session: session.to_owned(), connection: Mutex::new(None) }
    }

    /// The tree, or what there is room for.
    ///
    /// # Errors
    /// If the bus is not there.
    pub async fn tree(&self, wanted: TreeOf) -> Done<Tree> {
        let number = |number: i64| usize::try_from(number).unwrap_or_default();
        let bounds = Bounds { depth: number(wanted.depth.get()), nodes: number(wanted.nodes.get()) };
        let connection = self.connection().await?;
        let (found, more) = self.told(walk::walk(&connection, bounds).await).await?;
        let elements = ask::elements(&connection, things(&found)).await;
        let node = |(found, element): (&Found, Element)| TreeNode { parent: found.parent.map(Whole::nearest), element };
        Ok(Tree { nodes: List::cut(found.iter().zip(elements).map(node)), more })
    }

    /// Things that are what is looked for.
    ///
    /// # Errors
    /// If there is none, or the bus is not there.
    pub async fn find(&self, wanted: &Find) -> Done<Elements> {
        let connection = self.connection().await?;
        let (found, more) = self.told(walk::walk(&connection, SEARCHED).await).await?;
        let labels = ask::labels(&connection, things(&found)).await;
        let limit = usize::try_from(wanted.limit.get()).unwrap_or_default();
        let is_wanted = |(_, label): &(&Found, ask::Label)| walk::is(wanted, &label.role, &label.name);
        let these = found.iter().zip(labels).filter(is_wanted).take(MATCHES).map(|(found, _)| found.thing.clone());
        let mut elements = ask::elements(&connection, these.collect()).await;
        // Those that can be seen first; the others keep their order.
        elements.sort_by_key(|element| element.place.is_none());
        elements.truncate(limit);
        if elements.is_empty() {
            let text = |text: Option<&str>| text.map_or("anything".to_owned(), |text| format!("{text:?}"));
            let role = text(wanted.role.as_ref().map(agent_protocol::Text::as_str));
            let name = text(wanted.name.as_ref().map(agent_protocol::Text::as_str));
            let message = format!(
                "among {} things none has the role {role} and the name {name}: look at the tree, or be patient for longer",
                found.len()
            );
            return Err(Fault::new(Code::NotFound, message));
        }
        Ok(Elements { elements: List::cut(elements), more })
    }

    async fn connection(&self) -> Done<Connection> {
        let mut kept = self.connection.lock().await;
        if let Some(connection) = &*kept {
            return Ok(connection.clone());
        }
        let connection = ask::connect(&self.session).await.map_err(|error| bus_fault(&error))?;
        *kept = Some(connection.clone());
        Ok(connection)
    }

    /// A connection that does not answer any more is made anew the next time.
    async fn told<T>(&self, told: zbus::Result<T>) -> Done<T> {
        if told.is_err() {
            *self.connection.lock().await = None;
        }
        told.map_err(|error| bus_fault(&error))
    }
}

fn things(found: &[Found]) -> Vec<ask::Thing> {
    found.iter().map(|found| found.thing.clone()).collect()
}

fn bus_fault(error: &zbus::Error) -> Fault {
    Fault::failed(format!(
        "the accessibility bus does not answer: {error}; ask again, and if it stays so, end the session"
    ))
}
