//! Items of several languages, and one thing in many spellings, through both programs.

use crate::harness::Folder;

#[test]
fn items_are_found_in_their_language_and_by_any_spelling() {
    let folder = Folder::new();
    folder.write(
        "catalog.csv",
        "id,title,lang\n\
         de,Rote Häuser aus Holz,de\n\
         en,HP dv7-1211ea 15.6\u{2033} laptops,en\n\
         zh,蓝色T恤 iPhone13 保护壳 500毫升,zh\n",
    );
    folder.config(
        "catalog.csv",
        "language = 'lang'\ndescription = ''\nimage = ''\n\
         [keyword.languages]\nde = 'german'\nzh = 'chinese'\n[rank_fusion]\nalpha = 0.0\n",
    );
    folder.publish();
    let cases = [
        ("haus", "de"),
        ("laptop", "en"),
        ("dv7-1211ea", "en"),
        ("15.6 inch", "en"),
        ("15.6英寸", "en"),
        ("T恤", "zh"),
        ("保护壳", "zh"),
        ("500 ml", "zh"),
    ];
    for (query, id) in cases {
        assert_eq!(folder.hits(&[query, "--mode", "keyword"]), [id], "{query}");
    }
    // The column of languages can be filtered by without having been declared.
    assert_eq!(folder.hits(&["haus laptop", "--mode", "keyword", "--filter", "lang = 'en'"]), ["en"]);
}
