// Module `text`: regular expressions, differences, splitting. lua-libraries.md §17.

import type { LibraryModule } from '../runtime/services.ts'
import { differClass, newDiffer } from './text/differ.ts'
import { compile, regexpClass } from './text/regexp.ts'
import { markdown, recursive, splitterClass } from './text/splitter.ts'

export const textModule: LibraryModule = {
  name: 'text',
  description: 'regular expressions, differences, splitting',
  tags: ['deterministic'],
  build: () => ({
    regexp: { compile },
    diff: { new: newDiffer },
    splitter: { recursive, markdown },
  }),
  classes: [regexpClass, differClass, splitterClass],
}
