#pragma once

#include <string>
#include <vector>

#include "framework/data/dataset.h"

namespace tessera::image {

// Where the picture of an item lies: the raw field `field` of the item holds a path, within `folder` where that is
// given and the path is relative; where the field is missing or empty, `folder` holds ID.jpg, ID.jpeg or ID.png.
struct FileRule {
  std::string folder, field;
};

// The path of each item's picture, "" where it has none: no field and no such file, or a field that names a file that
// is not there.
std::vector<std::string> find_files(const Items& items, const FileRule& rule);

// Where pictures were looked for, with an example: "looked in posters for '7.jpg', .jpeg, .png and so on".
std::string looked_for(const Items& items, const FileRule& rule);

}  // namespace tessera::image
