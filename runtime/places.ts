// Files of the package that are no modules of this program. They lie beside this one in the source tree, and beside what it is bundled into.

/** Whether the sources run as they are, as in tests: threads need what is built. */
export const isSource = import.meta.url.endsWith('.ts')

export const WORKER = new URL('./process/worker.js', import.meta.url)

export const dashboardFile = (name: string): URL => new URL(`./admin/dashboard/${name}`, import.meta.url)
