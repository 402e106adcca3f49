//! The kinds that the model knows.

use desired::fields::Kind;

/// One kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// TenantClass.
    TenantClass,
    /// Tenant.
    Tenant,
    /// Workspace.
    Workspace,
    /// Lease.
    Lease,
    /// A child of a Workspace.
    Child(Kind),
}

impl Resource {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::TenantClass,
        Self::Tenant,
        Self::Workspace,
        Self::Lease,
        Self::NAMESPACE,
        Self::Child(Kind::NetworkPolicy),
        Self::Child(Kind::ResourceQuota),
        Self::Child(Kind::LimitRange),
        Self::Child(Kind::RoleBinding),
    ];
    /// Namespaces.
    pub const NAMESPACE: Self = Self::Child(Kind::Namespace);

    /// The API group; empty for the core group.
    #[must_use]
    pub fn group(self) -> &'static str {
        match self {
            Self::TenantClass | Self::Tenant | Self::Workspace => "steading.dev",
            Self::Lease => "coordination.k8s.io",
            Self::Child(kind) => kind.group(),
        }
    }

    /// The version within the group.
    #[must_use]
    pub fn version(self) -> &'static str {
        match self {
            Self::TenantClass | Self::Tenant | Self::Workspace => "v1alpha1",
            Self::Lease => "v1",
            Self::Child(kind) => kind.version(),
        }
    }

    /// As paths name it.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::TenantClass => "tenantclasses",
            Self::Tenant => "tenants",
            Self::Workspace => "workspaces",
            Self::Lease => "leases",
            Self::Child(kind) => kind.plural(),
        }
    }

    /// As objects name it.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::TenantClass => "TenantClass",
            Self::Tenant => "Tenant",
            Self::Workspace => "Workspace",
            Self::Lease => "Lease",
            Self::Child(kind) => kind.name(),
        }
    }

    /// `group/version`, or the version alone in the core group.
    #[must_use]
    pub fn api_version(self) -> String {
        if self.group().is_empty() { self.version().to_owned() } else { format!("{}/{}", self.group(), self.version()) }
    }

    /// Whether its objects lie in a namespace.
    #[must_use]
    pub fn is_namespaced(self) -> bool {
        match self {
            Self::TenantClass => false,
            Self::Tenant | Self::Workspace | Self::Lease => true,
            Self::Child(kind) => kind.is_namespaced(),
        }
    }

    /// Whether the server counts generations of it.
    pub(crate) fn has_generations(self) -> bool {
        self.is_custom() || self == Self::Child(Kind::NetworkPolicy)
    }

    /// Whether it is of our own CRDs.
    #[must_use]
    pub(crate) fn is_custom(self) -> bool {
        matches!(self, Self::TenantClass | Self::Tenant | Self::Workspace)
    }

    /// `tenants.steading.dev`, or the plural alone in the core group: how refusals name it.
    pub(crate) fn told(self) -> String {
        if self.group().is_empty() { self.plural().to_owned() } else { format!("{}.{}", self.plural(), self.group()) }
    }
}
