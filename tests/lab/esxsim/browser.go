package main

import (
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// datastoreBrowser lists a datastore's files: that is how a client finds .vmx files nobody registered.
type datastoreBrowser struct {
	mo.HostDatastoreBrowser
	volume *volume
}

func (b *datastoreBrowser) SearchDatastoreTask(ctx *simulator.Context, req *types.SearchDatastore_Task) soap.HasFault {
	return &methods.SearchDatastore_TaskBody{Res: &types.SearchDatastore_TaskResponse{
		Returnval: b.search(ctx, "searchDatastore", req.DatastorePath, req.SearchSpec, false),
	}}
}

func (b *datastoreBrowser) SearchDatastoreSubFoldersTask(ctx *simulator.Context, req *types.SearchDatastoreSubFolders_Task) soap.HasFault {
	return &methods.SearchDatastoreSubFolders_TaskBody{Res: &types.SearchDatastoreSubFolders_TaskResponse{
		Returnval: b.search(ctx, "searchDatastoreSubFolders", req.DatastorePath, req.SearchSpec, true),
	}}
}

func (b *datastoreBrowser) search(
	ctx *simulator.Context, name, root string, spec *types.HostDatastoreBrowserSearchSpec, deep bool,
) types.ManagedObjectReference {
	h := b.volume.host
	return h.startTask(ctx, b.volume.object.Self, name, func(*taskRun) (types.AnyType, types.BaseMethodFault) {
		v, relative, fault := h.locate(root)
		if fault != nil {
			return nil, fault
		}
		if !v.accessible() {
			return nil, v.inaccessible()
		}
		if spec == nil {
			spec = new(types.HostDatastoreBrowserSearchSpec)
		}
		files, err := v.files.open()
		if err != nil {
			return nil, v.inaccessible()
		}
		found, err := searchFolder(v, files, relative, spec, deep)
		if err != nil {
			return nil, &types.FileNotFound{FileFault: types.FileFault{File: root}}
		}
		if !deep {
			return found[0], nil
		}
		return types.ArrayOfHostDatastoreBrowserSearchResults{HostDatastoreBrowserSearchResults: found}, nil
	})
}

// searchFolder returns one result for the folder and, if deep, one for each folder below it that holds a match.
func searchFolder(
	v *volume, files fs.FS, relative string, spec *types.HostDatastoreBrowserSearchSpec, deep bool,
) ([]types.HostDatastoreBrowserSearchResults, error) {
	entries, err := fs.ReadDir(files, path.Join(".", relative))
	if err != nil {
		return nil, err
	}
	result := types.HostDatastoreBrowserSearchResults{Datastore: &v.object.Self, FolderPath: v.dsPath(relative)}
	if relative != "" {
		result.FolderPath += "/"
	}
	var below []types.HostDatastoreBrowserSearchResults
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		if info, err := entry.Info(); err == nil && matches(entry, spec) {
			result.File = append(result.File, fileInfo(info, spec.Details))
		}
		if deep && entry.IsDir() {
			if deeper, err := searchFolder(v, files, path.Join(relative, entry.Name()), spec, true); err == nil {
				for _, one := range deeper {
					if len(one.File) > 0 {
						below = append(below, one)
					}
				}
			}
		}
	}
	return append([]types.HostDatastoreBrowserSearchResults{result}, below...), nil
}

func matches(entry fs.DirEntry, spec *types.HostDatastoreBrowserSearchSpec) bool {
	name := entry.Name()
	if len(spec.MatchPattern) > 0 {
		hit := false
		for _, pattern := range spec.MatchPattern {
			if ok, _ := filepath.Match(pattern, name); ok {
				hit = true
			}
		}
		if !hit {
			return false
		}
	}
	if len(spec.Query) == 0 {
		return true
	}
	extension := filepath.Ext(name)
	for _, query := range spec.Query {
		switch query.(type) {
		case *types.VmConfigFileQuery:
			if extension == ".vmx" {
				return true
			}
		case *types.VmDiskFileQuery:
			if extension == ".vmdk" {
				return true
			}
		case *types.FolderFileQuery:
			if entry.IsDir() {
				return true
			}
		case *types.FileQuery:
			return true
		}
	}
	return false
}

func fileInfo(info fs.FileInfo, details *types.FileQueryFlags) types.BaseFileInfo {
	file := types.FileInfo{Path: info.Name()}
	if details != nil && details.FileSize {
		file.FileSize = info.Size()
	}
	if details != nil && details.Modification {
		modified := info.ModTime()
		file.Modification = &modified
	}
	switch extension := filepath.Ext(info.Name()); {
	case info.IsDir():
		return &types.FolderFileInfo{FileInfo: file}
	case extension == ".vmx":
		return &types.VmConfigFileInfo{FileInfo: file}
	case extension == ".vmdk":
		return &types.VmDiskFileInfo{FileInfo: file}
	}
	return &file
}
