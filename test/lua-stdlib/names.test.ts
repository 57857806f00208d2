// The names of the modules are known without the modules.

import { expect, test } from 'vitest'
import { libraryModules } from '../../lua-stdlib/index.ts'
import { moduleNames } from '../../lua-stdlib/names.ts'

test('every module is named, and nothing else is', () => {
  expect([...moduleNames]).toEqual(libraryModules.map(({ name }) => name))
})
