// Property tests (fast-check): every run tries the same cases, so that a run is red only because of what has changed. To look for new ones:
//   PROPERTY_SEED=7 npx vitest run --project unit

import fc from 'fast-check'

const { PROPERTY_SEED = '1' } = process.env
const seed = Number(PROPERTY_SEED)
if (!Number.isSafeInteger(seed)) throw new Error(`PROPERTY_SEED is ${PROPERTY_SEED}: a whole number is needed`)
fc.configureGlobal({ seed })

export { fc }
