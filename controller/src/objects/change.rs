//! Changes of objects: made, or tried only.

use std::sync::Arc;

use forebay_model::{Kind, Object};

use super::{Denied, Held, Objects, Tenant, refused};
use crate::store::{Step, Store};

/// What is asked for with one object of a kind.
#[derive(Clone, Copy, Debug)]
pub enum Change<'c> {
    /// A new one.
    Create(&'c Object),
    /// A new one that stood elsewhere as it is.
    Move(&'c Object),
    /// A whole one in the place of the one of this uuid.
    Replace(&'c str, &'c Object),
    /// Parts of the one of this uuid become others.
    Patch(&'c str, &'c Object),
    /// The one of this uuid goes.
    Delete(&'c str),
}

/// A change that was found good, and is not made yet.
pub(super) struct Ready {
    /// The object as it will be; one that goes: as it was.
    pub held: Held,
    pub is_gone: bool,
    pub step: Step,
    pub event: Object,
}

impl<S: Store> Objects<S> {
    /// Makes an object.
    ///
    /// # Errors
    /// Why not.
    pub async fn create(
        &self,
        kind: &'static Kind,
        sent: &Object,
        tenant: &Tenant,
    ) -> Result<Arc<Held>, Denied> {
        self.change(kind, Change::Create(sent), tenant).await
    }

    /// Takes in an object that stood elsewhere.
    ///
    /// # Errors
    /// Why not.
    pub async fn take_in(
        &self,
        kind: &'static Kind,
        sent: &Object,
        tenant: &Tenant,
    ) -> Result<Arc<Held>, Denied> {
        self.change(kind, Change::Move(sent), tenant).await
    }

    /// Puts a whole object in the place of what it was.
    ///
    /// # Errors
    /// Why not.
    pub async fn replace(
        &self,
        kind: &'static Kind,
        uuid: &str,
        sent: &Object,
        tenant: &Tenant,
    ) -> Result<Arc<Held>, Denied> {
        self.change(kind, Change::Replace(uuid, sent), tenant).await
    }

    /// Changes parts of an object.
    ///
    /// # Errors
    /// Why not.
    pub async fn patch(
        &self,
        kind: &'static Kind,
        uuid: &str,
        change: &Object,
        tenant: &Tenant,
    ) -> Result<Arc<Held>, Denied> {
        self.change(kind, Change::Patch(uuid, change), tenant).await
    }

    /// Takes an object away.
    ///
    /// # Errors
    /// Why not.
    pub async fn delete(&self, kind: &'static Kind, uuid: &str, tenant: &Tenant) -> Result<(), Denied> {
        self.change(kind, Change::Delete(uuid), tenant).await.map(drop)
    }

    /// Makes a change, and gives the object as it is then; one that has gone: as it was.
    ///
    /// # Errors
    /// Why not.
    pub async fn change(
        &self,
        kind: &'static Kind,
        change: Change<'_>,
        tenant: &Tenant,
    ) -> Result<Arc<Held>, Denied> {
        let _turn = self.writing.lock().await;
        let Ready { mut held, is_gone, step, event } = self.ready(kind, change, tenant).await?;
        held.revision =
            self.audit.commit(&self.store, step, event).await.map_err(|refusal| refused(kind, refusal))?;
        let id = held.id();
        if is_gone {
            self.alter(|catalogue| catalogue.remove(&id));
            return Ok(Arc::new(held));
        }
        self.alter(|catalogue| catalogue.put(held));
        self.now().get(id.kind, &id.uuid).cloned().ok_or(Denied::Missing(kind))
    }

    /// Does all of a change but the change: the object as it would be.
    ///
    /// # Errors
    /// Why not.
    //= API-DRY-01
    pub async fn try_change(
        &self,
        kind: &'static Kind,
        change: Change<'_>,
        tenant: &Tenant,
    ) -> Result<Arc<Held>, Denied> {
        let _turn = self.writing.lock().await;
        let ready = self.ready(kind, change, tenant).await?;
        ready.step.check().map_err(|refusal| refused(kind, refusal))?;
        Ok(Arc::new(ready.held))
    }

    async fn ready(&self, kind: &'static Kind, change: Change<'_>, tenant: &Tenant) -> Result<Ready, Denied> {
        match change {
            Change::Create(sent) => self.created(kind, sent, tenant, false).await,
            Change::Move(sent) => self.created(kind, sent, tenant, true).await,
            Change::Replace(uuid, sent) => self.replaced(kind, uuid, sent, tenant).await,
            Change::Patch(uuid, change) => self.patched(kind, uuid, change, tenant).await,
            Change::Delete(uuid) => self.deleted(kind, uuid, tenant),
        }
    }
}
