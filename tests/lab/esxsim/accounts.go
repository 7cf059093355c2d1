package main

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/simulator/esx"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// accounts are the users beside the configuration's (who may everything), the roles beside ESXi's own, and the permissions. They outlast a restart.
type accounts struct {
	path string

	mu          sync.Mutex
	Users       map[string]localUser `json:"users"`
	Roles       []savedRole          `json:"roles"`
	Permissions []types.Permission   `json:"permissions"`
}

type localUser struct {
	Password    string `json:"password"`
	Description string `json:"description"`
}

type savedRole struct {
	ID         int32    `json:"id"`
	Name       string   `json:"name"`
	Privileges []string `json:"privileges"`
}

var ofEveryRole = []string{"System.Anonymous", "System.Read", "System.View"}

func loadAccounts(folder string) (*accounts, error) {
	a := &accounts{path: filepath.Join(folder, "accounts.json"), Users: map[string]localUser{}}
	if err := readState(a.path, a); err != nil {
		return nil, err
	}
	return a, nil
}

// change makes a change that is on disk when it returns.
func (a *accounts) change(change func() types.BaseMethodFault) types.BaseMethodFault {
	a.mu.Lock()
	defer a.mu.Unlock()
	if fault := change(); fault != nil {
		return fault
	}
	content, err := json.MarshalIndent(a, "", " ")
	if err == nil {
		err = replaceFile(a.path, append(content, '\n'), 0o600)
	}
	if err != nil {
		return &types.HostConfigFault{}
	}
	return nil
}

func (a *accounts) user(name string) (localUser, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	user, known := a.Users[name]
	return user, known
}

func (a *accounts) roles() []types.AuthorizationRole {
	a.mu.Lock()
	defer a.mu.Unlock()
	roles := slices.Clone(esx.RoleList)
	for _, role := range a.Roles {
		roles = append(roles, types.AuthorizationRole{
			RoleId: role.ID, Name: role.Name, Info: &types.Description{Label: role.Name, Summary: role.Name}, Privilege: slices.Clone(role.Privileges),
		})
	}
	return roles
}

// permission is what holds for a user on an object: the nearest one above it.
func (h *host) permission(user string, object types.ManagedObjectReference) (types.Permission, bool) {
	root := esx.ServiceContent.RootFolder
	for at := object; ; {
		h.accounts.mu.Lock()
		index := slices.IndexFunc(h.accounts.Permissions, func(p types.Permission) bool {
			return *p.Entity == at && !p.Group && p.Principal == user && (p.Propagate || at == object)
		})
		var found types.Permission
		if index >= 0 {
			found = h.accounts.Permissions[index]
		}
		h.accounts.mu.Unlock()
		if index >= 0 || at == root {
			return found, index >= 0
		}
		entity, is := h.registry.Get(at).(mo.Entity)
		if !is || entity.Entity().Parent == nil {
			at = root // a manager, a browser, a task: what holds for the host
		} else {
			at = *entity.Entity().Parent
		}
	}
}

func (h *host) mayEverything(user string) bool { return user == h.config.Username || user == "" }

func (h *host) grants(user string, object types.ManagedObjectReference, privilege string) bool {
	if h.mayEverything(user) {
		return true
	}
	permission, known := h.permission(user, object)
	if !known {
		return false
	}
	role := roleList(h.accounts.roles()).ById(permission.RoleId)
	return role != nil && slices.Contains(role.Privilege, privilege)
}

func roleList(roles []types.AuthorizationRole) object.AuthorizationRoleList { return roles }

// authorizationManager is the host's roles and permissions, which the simulator's own keeps and never asks.
type authorizationManager struct {
	mo.AuthorizationManager
	host *host
}

func (m *authorizationManager) refresh() { m.RoleList = m.host.accounts.roles() }

// privileges are those given and those of every role; a fault when one is none.
func privileges(given []string) ([]string, types.BaseMethodFault) {
	known := roleList(esx.RoleList).ByName("Admin").Privilege
	all := slices.Clone(ofEveryRole)
	for _, name := range given {
		if !slices.Contains(known, name) {
			return nil, &types.InvalidArgument{InvalidProperty: "privIds"}
		}
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all, nil
}

func (m *authorizationManager) AddAuthorizationRole(_ *simulator.Context, req *types.AddAuthorizationRole) soap.HasFault {
	a, number := m.host.accounts, int32(1)
	fault := a.change(func() types.BaseMethodFault {
		if roleList(esx.RoleList).ByName(req.Name) != nil || slices.ContainsFunc(a.Roles, func(r savedRole) bool { return r.Name == req.Name }) {
			return &types.AlreadyExists{Name: req.Name}
		}
		all, fault := privileges(req.PrivIds)
		if fault != nil {
			return fault
		}
		for _, role := range a.Roles {
			number = max(number, role.ID+1)
		}
		a.Roles = append(a.Roles, savedRole{number, req.Name, all})
		return nil
	})
	if fault != nil {
		return &methods.AddAuthorizationRoleBody{Fault_: simulator.Fault("", fault)}
	}
	m.refresh()
	return &methods.AddAuthorizationRoleBody{Res: &types.AddAuthorizationRoleResponse{Returnval: number}}
}

func (m *authorizationManager) UpdateAuthorizationRole(_ *simulator.Context, req *types.UpdateAuthorizationRole) soap.HasFault {
	a := m.host.accounts
	fault := a.change(func() types.BaseMethodFault {
		at := slices.IndexFunc(a.Roles, func(r savedRole) bool { return r.ID == req.RoleId })
		if at < 0 {
			return new(types.NotFound) // ESXi's own cannot be changed either
		}
		all, fault := privileges(req.PrivIds)
		if fault == nil {
			a.Roles[at].Name, a.Roles[at].Privileges = req.NewName, all
		}
		return fault
	})
	if fault != nil {
		return &methods.UpdateAuthorizationRoleBody{Fault_: simulator.Fault("", fault)}
	}
	m.refresh()
	return &methods.UpdateAuthorizationRoleBody{Res: new(types.UpdateAuthorizationRoleResponse)}
}

func (m *authorizationManager) RetrieveEntityPermissions(_ *simulator.Context, req *types.RetrieveEntityPermissions) soap.HasFault {
	a := m.host.accounts
	a.mu.Lock()
	defer a.mu.Unlock()
	var found []types.Permission
	if req.Entity == esx.ServiceContent.RootFolder {
		admin := roleList(esx.RoleList).ByName("Admin").RoleId
		found = append(found, types.Permission{Entity: &req.Entity, Principal: m.host.config.Username, RoleId: admin, Propagate: true})
	}
	for _, permission := range a.Permissions {
		if *permission.Entity == req.Entity {
			found = append(found, permission)
		}
	}
	return &methods.RetrieveEntityPermissionsBody{Res: &types.RetrieveEntityPermissionsResponse{Returnval: found}}
}

// SetEntityPermissions replaces what the same user or group has on the object, and leaves others alone.
func (m *authorizationManager) SetEntityPermissions(_ *simulator.Context, req *types.SetEntityPermissions) soap.HasFault {
	a := m.host.accounts
	roles := roleList(a.roles())
	fault := a.change(func() types.BaseMethodFault {
		for _, given := range req.Permission {
			if _, known := a.Users[given.Principal]; !known || given.Group {
				return &types.UserNotFound{Principal: given.Principal}
			}
			if roles.ById(given.RoleId) == nil {
				return new(types.NotFound)
			}
			a.Permissions = slices.DeleteFunc(a.Permissions, func(p types.Permission) bool {
				return *p.Entity == req.Entity && p.Principal == given.Principal
			})
			given.Entity = &req.Entity
			a.Permissions = append(a.Permissions, given)
		}
		return nil
	})
	if fault != nil {
		return &methods.SetEntityPermissionsBody{Fault_: simulator.Fault("", fault)}
	}
	return &methods.SetEntityPermissionsBody{Res: new(types.SetEntityPermissionsResponse)}
}

// accountManager is the host's local users.
type accountManager struct {
	mo.HostLocalAccountManager
	host *host
}

func (m *accountManager) CreateUser(_ *simulator.Context, req *types.CreateUser) soap.HasFault {
	spec, a := req.User.GetHostAccountSpec(), m.host.accounts
	fault := a.change(func() types.BaseMethodFault {
		if _, known := a.Users[spec.Id]; known || spec.Id == m.host.config.Username {
			return &types.AlreadyExists{Name: spec.Id}
		}
		if spec.Id == "" || spec.Password == "" {
			return &types.InvalidArgument{InvalidProperty: "user"}
		}
		a.Users[spec.Id] = localUser{spec.Password, spec.Description}
		return nil
	})
	if fault != nil {
		return &methods.CreateUserBody{Fault_: simulator.Fault("", fault)}
	}
	return &methods.CreateUserBody{Res: new(types.CreateUserResponse)}
}

func (m *accountManager) UpdateUser(_ *simulator.Context, req *types.UpdateUser) soap.HasFault {
	spec, a := req.User.GetHostAccountSpec(), m.host.accounts
	fault := a.change(func() types.BaseMethodFault {
		user, known := a.Users[spec.Id]
		if !known {
			return &types.UserNotFound{Principal: spec.Id}
		}
		if spec.Password != "" {
			user.Password = spec.Password
		}
		user.Description = spec.Description
		a.Users[spec.Id] = user
		return nil
	})
	if fault != nil {
		return &methods.UpdateUserBody{Fault_: simulator.Fault("", fault)}
	}
	return &methods.UpdateUserBody{Res: new(types.UpdateUserResponse)}
}

type userDirectory struct {
	mo.UserDirectory
	host *host
}

func (d *userDirectory) RetrieveUserGroups(_ *simulator.Context, req *types.RetrieveUserGroups) soap.HasFault {
	a := d.host.accounts
	a.mu.Lock()
	defer a.mu.Unlock()
	var found []types.BaseUserSearchResult
	for name, user := range a.Users {
		if req.FindUsers && (name == req.SearchStr || !req.ExactMatch && strings.Contains(strings.ToLower(name), strings.ToLower(req.SearchStr))) {
			found = append(found, &types.UserSearchResult{Principal: name, FullName: user.Description})
		}
	}
	return &methods.RetrieveUserGroupsBody{Res: &types.RetrieveUserGroupsResponse{Returnval: found}}
}

func (h *host) makeAccounts() []mo.Reference {
	authorization := &authorizationManager{host: h}
	authorization.Self = *esx.ServiceContent.AuthorizationManager
	authorization.refresh()
	local := &accountManager{host: h}
	local.Self = *esx.ServiceContent.AccountManager
	directory := &userDirectory{host: h}
	directory.Self = *esx.ServiceContent.UserDirectory
	return []mo.Reference{authorization, local, directory}
}
