//! What a server of authorization can do for us, call by call.
//!
//! In: ids and content. Out: what the server answers. Each call but [`Server::create_store`] and [`Server::write_model`] may be repeated
//! without harm; those two are made safe by [`super::Stores`].

use std::fmt;

use serde_json::{Value, json};

use super::{
    openfga::OpenFga,
    tuples::{Changes, Of, TupleSeen},
};
use crate::{fault::Fault, memory::MemoryStores};

/// Id of a store: a ULID, 26 digits and capitals without I, L, O and U, growing with time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreId(String);

impl StoreId {
    /// Checks the text.
    ///
    /// # Errors
    /// Not an id as servers make them.
    pub fn new(text: &str) -> Result<Self, Fault> {
        let fits = |byte: u8| byte.is_ascii_digit() || (byte.is_ascii_uppercase() && !b"ILOU".contains(&byte));
        if text.len() == 26 && text.bytes().all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            let shown: String = text.chars().take(40).collect();
            Err(Fault::invalid(format!("{shown:?} is not the id of a store, which has 26 digits and capitals")))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A model of a store.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Its id; the newest has the highest.
    pub id: String,
    /// The model as JSON.
    pub content: Value,
}

impl Model {
    /// The content as it is written: without the id.
    pub(super) fn bare(&self) -> Value {
        let field = |name: &str| self.content.get(name).cloned();
        json!({
            "schema_version": field("schema_version"),
            "type_definitions": field("type_definitions"),
            "conditions": field("conditions").unwrap_or_else(|| json!({})),
        })
    }
}

/// What a call is about.
pub(crate) struct About<'a> {
    /// The object and the address, for messages.
    pub(crate) what: &'a str,
    /// Whose object it is.
    pub(crate) identity: &'a str,
}

/// Where stores are.
#[derive(Clone, Debug)]
pub enum Server {
    /// An OpenFGA server.
    OpenFga(OpenFga),
    /// In memory, with faults on demand; for tests.
    Memory(MemoryStores),
}

macro_rules! delegate {
    ($self:ident, $inner:ident => $call:expr) => {
        match $self {
            Server::OpenFga($inner) => $call,
            Server::Memory($inner) => $call,
        }
    };
}

impl Server {
    /// Its address, for messages.
    pub(super) fn address(&self) -> &str {
        delegate!(self, inner => inner.address())
    }

    /// The stores of this name that the server lists, oldest first.
    pub(super) async fn stores(&self, about: &About<'_>, name: &str) -> Result<Vec<StoreId>, Fault> {
        delegate!(self, inner => inner.stores(about, name).await)
    }

    /// The name of a store; `None` if it never was or is marked as deleted.
    pub(super) async fn name_of(&self, about: &About<'_>, id: &StoreId) -> Result<Option<String>, Fault> {
        delegate!(self, inner => inner.name_of(about, id).await)
    }

    /// The store in which the server looks up who may do what, if its access control is on.
    pub(super) fn access_control(&self) -> Option<&StoreId> {
        delegate!(self, inner => inner.access_control())
    }

    /// Makes a store; asked twice, it makes two.
    pub(super) async fn create_store(&self, about: &About<'_>, name: &str) -> Result<StoreId, Fault> {
        delegate!(self, inner => inner.create_store(about, name).await)
    }

    /// Marks a store as deleted; done if it is. It is listed no more, but whoever has its id still reads, writes and checks what stands in it.
    pub(super) async fn delete_store(&self, about: &About<'_>, id: &StoreId) -> Result<(), Fault> {
        delegate!(self, inner => inner.delete_store(about, id).await)
    }

    /// The newest models, newest first, 10 at most; none of a store that never was.
    pub(super) async fn models(&self, about: &About<'_>, id: &StoreId) -> Result<Vec<Model>, Fault> {
        delegate!(self, inner => inner.models(about, id).await)
    }

    /// Adds a model and returns its id; asked twice, it adds two.
    pub(super) async fn write_model(&self, about: &About<'_>, id: &StoreId, model: &Value) -> Result<String, Fault> {
        delegate!(self, inner => inner.write_model(about, id, model).await)
    }

    /// The tuples that are meant, 10,000 at most.
    pub(super) async fn tuples(&self, about: &About<'_>, id: &StoreId, of: Of<'_>) -> Result<Vec<TupleSeen>, Fault> {
        delegate!(self, inner => inner.tuples(about, id, of).await)
    }

    /// Deletes or writes tuples, all or none of them; those that are gone or there already do no harm. What is written is checked by this
    /// model, by the newest if it is empty.
    pub(super) async fn write_tuples(
        &self,
        about: &About<'_>,
        id: &StoreId,
        model: &str,
        changes: &Changes,
    ) -> Result<(), Fault> {
        delegate!(self, inner => inner.write_tuples(about, id, model, changes).await)
    }

    /// The tuples of an object in each of these relations. Others may be many, and are not ours to look at.
    pub(super) async fn tuples_of(
        &self,
        about: &About<'_>,
        store: &StoreId,
        object: &str,
        relations: &[&str],
    ) -> Result<Vec<TupleSeen>, Fault> {
        let mut all = Vec::new();
        for relation in relations {
            all.extend(self.tuples(about, store, Of::Object(object, relation)).await?);
        }
        Ok(all)
    }

    /// Deletes what is not wanted, then writes what is missing.
    pub(super) async fn put_right(
        &self,
        about: &About<'_>,
        store: &StoreId,
        model: &str,
        changes: &Changes,
    ) -> Result<(), Fault> {
        for batch in changes.batches() {
            self.write_tuples(about, store, model, &batch).await?;
        }
        Ok(())
    }
}
