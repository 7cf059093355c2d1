package main

import (
	_ "embed"
	"encoding/json"
	"reflect"
	"sort"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/simulator/esx"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// needed is which privilege each method, parameter and property needs, as the vSphere API's own type table has it (privileges.py).
var needed struct {
	Methods    map[string]map[string]string `json:"methods"`    // method -> "this" or a parameter -> privilege on that object
	Properties map[string]string            `json:"properties"` // "SessionManager.sessionList"
}

//go:embed privileges.json
var privilegesTable []byte

func init() {
	if err := json.Unmarshal(privilegesTable, &needed); err != nil {
		panic(err)
	}
}

// authorize refuses what the session's user may not.
func (h *host) authorize(ctx *simulator.Context, method *simulator.Method) types.BaseMethodFault {
	user := ctx.Session.UserName
	if h.mayEverything(user) || method.Name == "Logout" {
		return nil
	}
	refused := func(object types.ManagedObjectReference, privilege string) types.BaseMethodFault {
		if h.grants(user, object, privilege) {
			return nil
		}
		return &types.NoPermission{Object: &object, PrivilegeId: privilege}
	}
	if fault := refused(esx.ServiceContent.RootFolder, "System.View"); fault != nil {
		return fault
	}
	parameters := make([]string, 0, 2)
	for parameter := range needed.Methods[method.Name] {
		parameters = append(parameters, parameter)
	}
	sort.Strings(parameters)
	for _, parameter := range parameters {
		object, given := method.This, true
		if parameter != "this" {
			object, given = reference(method.Body, parameter)
		}
		if !given {
			continue
		}
		if fault := refused(object, needed.Methods[method.Name][parameter]); fault != nil {
			return fault
		}
	}
	if method.Name == "Fetch" { // its type is internal to govmomi
		body := reflect.Indirect(reflect.ValueOf(method.Body))
		if privilege := needed.Properties[method.This.Type+"."+body.FieldByName("Prop").String()]; privilege != "" {
			return refused(method.This, privilege)
		}
	}
	return nil
}

// reference is the object that a parameter of a request names.
func reference(body any, parameter string) (types.ManagedObjectReference, bool) {
	field := reflect.Indirect(reflect.ValueOf(body)).FieldByName(strings.ToUpper(parameter[:1]) + parameter[1:])
	if !field.IsValid() {
		return types.ManagedObjectReference{}, false
	}
	switch value := field.Interface().(type) {
	case types.ManagedObjectReference:
		return value, true
	case *types.ManagedObjectReference:
		if value != nil {
			return *value, true
		}
	}
	return types.ManagedObjectReference{}, false
}

// propertyCollector leaves out what a user with fewer privileges than all may not read, as a host does: the property is missing.
type propertyCollector struct {
	*simulator.PropertyCollector
	host *host
}

func (c *propertyCollector) RetrievePropertiesEx(ctx *simulator.Context, req *types.RetrievePropertiesEx) soap.HasFault {
	answer := c.PropertyCollector.RetrievePropertiesEx(ctx, req)
	if body, is := answer.(*methods.RetrievePropertiesExBody); is && body.Res != nil && body.Res.Returnval != nil {
		body.Res.Returnval.Objects = c.readable(ctx, body.Res.Returnval.Objects)
	}
	return answer
}

func (c *propertyCollector) ContinueRetrievePropertiesEx(ctx *simulator.Context, req *types.ContinueRetrievePropertiesEx) soap.HasFault {
	answer := c.PropertyCollector.ContinueRetrievePropertiesEx(ctx, req)
	if body, is := answer.(*methods.ContinueRetrievePropertiesExBody); is && body.Res != nil {
		body.Res.Returnval.Objects = c.readable(ctx, body.Res.Returnval.Objects)
	}
	return answer
}

func (c *propertyCollector) RetrieveProperties(ctx *simulator.Context, req *types.RetrieveProperties) soap.HasFault {
	answer := c.PropertyCollector.RetrieveProperties(ctx, req)
	if body, is := answer.(*methods.RetrievePropertiesBody); is && body.Res != nil {
		body.Res.Returnval = c.readable(ctx, body.Res.Returnval)
	}
	return answer
}

func (c *propertyCollector) readable(ctx *simulator.Context, found []types.ObjectContent) []types.ObjectContent {
	var seen []types.ObjectContent
	user := ctx.Session.UserName
	for _, object := range found {
		if !c.host.grants(user, object.Obj, "System.View") {
			continue
		}
		var kept []types.DynamicProperty
		for _, property := range object.PropSet {
			first, _, _ := strings.Cut(property.Name, ".")
			privilege := needed.Properties[object.Obj.Type+"."+first]
			if privilege != "" && !c.host.grants(user, object.Obj, privilege) {
				object.MissingSet = append(object.MissingSet, types.MissingProperty{Path: property.Name, Fault: types.LocalizedMethodFault{
					Fault: &types.NoPermission{Object: &object.Obj, PrivilegeId: privilege},
				}})
				continue
			}
			if first == "effectiveRole" {
				permission, _ := c.host.permission(user, object.Obj)
				property.Val = types.ArrayOfInt{Int: []int32{permission.RoleId}}
			}
			kept = append(kept, property)
		}
		object.PropSet = kept
		seen = append(seen, object)
	}
	return seen
}
