// What the parts of a saved process say where they are none.

import { MoonmeshError } from '../../runtime/base/errors.ts'

/** @param what a document holds something else in the place of */
export const damaged = (what: string): MoonmeshError =>
  new MoonmeshError(
    'Invalid',
    `the document is damaged: it holds no ${what.replace(/^an? /, '')} where one should be`,
    {
      retryable: false,
    },
  )
