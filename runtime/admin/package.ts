// What this package says of itself.

import { createRequire } from 'node:module'

interface PackageInfo {
  readonly version: string
  readonly dependencies: Readonly<Record<string, string>>
}

/** The package's own package.json, from the source tree and from `dist/` alike. */
export function packageInfo(): PackageInfo {
  return createRequire(import.meta.url)('moonmesh/package.json') as PackageInfo
}
